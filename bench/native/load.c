/* load.c: the clients of the benchmark. Sends calls to one MCP endpoint, checks every answer, prints one JSON line.
 *
 *   bench-load --port P [--also P]... [--path /mcp] [--era modern|legacy] [--clients C] [--tool NAME | --list N] [--kind echo|big|steps]
 *              [--rate R] [--warm S] [--seconds S] [--least CALLS] [--most S] [--header 'Name: value']...
 *              [--ca FILE] [--watch PID,PID,...]
 *   bench-load --port P --sessions hold|leave ...   opens C sessions, prints `ready`, ends when its input ends
 *
 * Guarantees
 * - a call counts as good only when its answer has status 200, the id of this very call, no error, no isError, and the
 *   text that was asked for (`--list`: that many tools); ids are never used twice;
 * - closed loop by default: every client sends its next call when it has the answer. With `--rate`, open loop: calls are
 *   due at fixed times and their latency counts from the time they were due, however late they could be sent;
 * - the window opens when every client has had an answer and `--warm` has passed, and lasts `--seconds`, longer (up to
 *   `--most`) until `--least` calls are done; only calls answered within it are counted;
 * - the processor time of the processes of `--watch` is read at the two edges of the window, from their own clocks
 *   (nanoseconds, user and system, all threads), so that nobody's scheduling falsifies it;
 * - with `--also` clients are dealt out to all ports in turns;
 * - what a server sends is bounded and never trusted: it can make a call bad, not break this program.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"

enum {
    MAX_ANSWER_BYTES = 8 << 20,
    MAX_HEAD_BYTES = 32 << 10,
    MAX_SESSION_BYTES = 2048,
    MAX_WATCHED = 256,
    MAX_PORTS = 32,
    MAX_DUE = 1 << 16,
    MAX_LOST = 2000, /* connections; then the server is not worth measuring */
    MAX_LATENCIES = 1 << 26,
    READ_BYTES = 256 << 10,
    EVENTS = 256,
    ID_DIGITS = 10,
    TEXT_BYTES = 200,
};

#define SECOND 1000000000ull
#define READY_LIMIT (40 * SECOND)
#define REVISION "2026-07-28"
#define LEGACY_REVISION "2025-11-25"
#define CLIENT "\"name\":\"bench-load\",\"version\":\"1\""

typedef enum { CONNECTING, HANDSHAKING, INITIALIZING, INITIALIZED, IDLE, CALLING, GONE } State;

typedef struct Client {
    int fd, port;
    State state;
    bool is_counted; /* it has had its first answer */
    bool waits_to_write;
    SSL *tls;
    Buffer in, out, content;
    size_t sent;
    /* the answer being read */
    size_t head_size, scanned;
    bool is_chunked, is_stream, is_last;
    int status;
    size_t length;
    /* the call under way */
    char id[ID_DIGITS + 1];
    uint64_t since;
    /* its request, with the places of the id in it */
    Buffer request;
    size_t places[4];
    int place_count;
    char session[MAX_SESSION_BYTES];
    struct Client *next;
} Client;

static struct {
    int ports[MAX_PORTS], port_count, clients;
    const char *path, *tool, *kind, *sessions, *ca;
    bool is_legacy;
    int list;
    double rate, warm, seconds, most;
    long least;
    Buffer headers;
    pid_t watched[MAX_WATCHED];
    int watched_count;
} wish = {.clients = 1, .path = "/mcp", .tool = "echo", .kind = "echo", .warm = 0.1, .seconds = 0.5, .most = 30};

static struct {
    long good, bad, lost, events, ready, requests;
    unsigned long long bytes;
    bool is_open;
    uint64_t opened, closes;
    char first_bad[256];
    float *latencies_us;
    size_t latency_count, latency_room;
} score;

static int poller, timer = -1;
static SSL_CTX *tls_context;
static char *big_text;
static char padding[TEXT_BYTES + 1];
static uint64_t next_id = 1000000000ull;
static Client *idle, *idle_last; /* first in, first out, so that every client gets its turn */
static uint64_t due[MAX_DUE];
static size_t due_first, due_last;

static uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * SECOND + (uint64_t)at.tv_nsec;
}

static void note_bad(const char *what, Slice said) {
    if (score.is_open) score.bad++;
    if (score.first_bad[0]) return;
    size_t size = said.size < 160 ? said.size : 160;
    int at = snprintf(score.first_bad, sizeof score.first_bad, "%s: ", what);
    for (size_t i = 0; i < size; i++) { /* it will stand inside a JSON string */
        char c = said.data[i];
        score.first_bad[at++] = c == '"' ? '\'' : c < 32 || c > 126 || c == '\\' ? ' ' : c;
    }
    score.first_bad[at] = 0;
}

static void note_good(uint64_t took) {
    if (!score.is_open) return;
    score.good++;
    if (score.latency_count == score.latency_room) {
        if (score.latency_room >= MAX_LATENCIES) return;
        score.latency_room = score.latency_room ? score.latency_room * 2 : 1 << 16;
        score.latencies_us = realloc(score.latencies_us, score.latency_room * sizeof *score.latencies_us);
        if (!score.latencies_us) die("out of memory");
    }
    score.latencies_us[score.latency_count++] = (float)((double)took / 1e3);
}

/* ---- requests -------------------------------------------------------------------------------------------- */

static void append_request(Client *one, Buffer *out, const char *method, const char *name, Slice content) {
    char text[512];
    snprintf(text, sizeof text, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n", wish.path, one->port);
    append_text(out, text);
    append_text(out, "Accept: application/json, text/event-stream\r\n");
    append(out, wish.headers.data, wish.headers.size);
    bool is_first = !strcmp(method, "initialize");
    if (wish.is_legacy && !is_first) append_text(out, "MCP-Protocol-Version: " LEGACY_REVISION "\r\n");
    if (one->session[0] && !is_first) {
        append_text(out, "Mcp-Session-Id: ");
        append_text(out, one->session);
        append_text(out, "\r\n");
    }
    if (!wish.is_legacy) {
        snprintf(text, sizeof text, "MCP-Protocol-Version: " REVISION "\r\nMcp-Method: %s\r\n", method);
        append_text(out, text);
        if (name) {
            snprintf(text, sizeof text, "Mcp-Name: %s\r\n", name);
            append_text(out, text);
        }
    }
    snprintf(text, sizeof text, "Content-Length: %zu\r\n\r\n", content.size);
    append_text(out, text);
    append_slice(out, content);
}

/* The request of every call, written once; only its id changes, which stands in it up to three times. */
static void prepare(Client *one) {
    static const char mark[] = "@@@@@@@@@@"; /* ID_DIGITS long */
    Buffer content = {0};
    const char *method = wish.list ? "tools/list" : "tools/call";
    bool wants_progress = !strcmp(wish.kind, "steps");
    append_text(&content, "{\"jsonrpc\":\"2.0\",\"id\":");
    append_text(&content, mark);
    append_text(&content, ",\"method\":\"");
    append_text(&content, method);
    append_text(&content, "\",\"params\":{");
    if (!wish.list) {
        append_text(&content, "\"name\":\"");
        append_text(&content, wish.tool);
        append_text(&content, "\",\"arguments\":{\"text\":\"");
        append_text(&content, mark);
        append_text(&content, padding);
        append_text(&content, "\"}");
    }
    if (!wish.is_legacy || wants_progress) {
        append_text(&content, wish.list ? "\"_meta\":{" : ",\"_meta\":{");
        if (wants_progress) {
            append_text(&content, "\"progressToken\":");
            append_text(&content, mark);
        }
        if (!wish.is_legacy) {
            append_text(&content, wants_progress ? "," : "");
            append_text(&content, "\"io.modelcontextprotocol/protocolVersion\":\"" REVISION "\","
                                  "\"io.modelcontextprotocol/clientInfo\":{" CLIENT "},"
                                  "\"io.modelcontextprotocol/clientCapabilities\":{}");
        }
        append_text(&content, "}");
    }
    append_text(&content, "}}");
    one->request.size = 0;
    one->place_count = 0;
    append_request(one, &one->request, method, wish.list ? NULL : wish.tool, (Slice){content.data, content.size});
    free(content.data);
    for (char *at = one->request.data; (at = memmem(at, (size_t)(one->request.data + one->request.size - at), mark, ID_DIGITS)); at += ID_DIGITS)
        one->places[one->place_count++] = (size_t)(at - one->request.data);
}

static void call(Client *one, uint64_t since) {
    snprintf(one->id, sizeof one->id, "%010llu", (unsigned long long)(next_id++ % 10000000000ull));
    for (int i = 0; i < one->place_count; i++) memcpy(one->request.data + one->places[i], one->id, ID_DIGITS);
    append(&one->out, one->request.data, one->request.size);
    one->state = CALLING;
    one->since = since;
    score.requests++;
}

static void ask_session(Client *one) {
    char text[256];
    snprintf(one->id, sizeof one->id, "%010llu", (unsigned long long)next_id++);
    snprintf(text, sizeof text,
             "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"" LEGACY_REVISION
             "\",\"capabilities\":{},\"clientInfo\":{" CLIENT "}}}", one->id);
    append_request(one, &one->out, "initialize", NULL, (Slice){text, strlen(text)});
    one->state = INITIALIZING;
    score.requests++;
}

static void confirm_session(Client *one) {
    static const char text[] = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
    append_request(one, &one->out, "notifications/initialized", NULL, (Slice){text, sizeof text - 1});
    one->state = INITIALIZED;
    score.requests++;
}

/* The client has nothing under way: its next call, or a place among the idle ones. */
static void go_on(Client *one) {
    one->state = IDLE;
    if (wish.sessions) return;
    if (wish.rate <= 0) {
        call(one, now());
    } else if (due_first != due_last) {
        call(one, due[due_first++ % MAX_DUE]);
    } else {
        one->next = NULL;
        *(idle ? &idle_last->next : &idle) = one;
        idle_last = one;
    }
}

static void begin(Client *one) {
    if (wish.is_legacy) {
        one->session[0] = 0;
        ask_session(one);
    } else {
        prepare(one);
        go_on(one);
    }
}

/* ---- answers --------------------------------------------------------------------------------------------- */

/* Definitions are counted by the one member that each must have: walking through them would cost more than sending. */
static bool has_right_list(Slice result) {
    static const char mark[] = "\"inputSchema\"";
    const char *at = result.data, *end = at + result.size;
    int count = 0;
    for (; (at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1)); at += sizeof mark - 1) count++;
    return count == wish.list;
}

static bool has_right_text(const Client *one, Slice result) {
    const char *at = NULL;
    Slice text = unquoted(member(next_element(member(result, "content"), &at), "text"));
    if (!strcmp(wish.kind, "big")) return text.size == BIG_TEXT_BYTES && !memcmp(text.data, big_text, BIG_TEXT_BYTES);
    return text.size == ID_DIGITS + TEXT_BYTES && !memcmp(text.data, one->id, ID_DIGITS)
        && !memcmp(text.data + ID_DIGITS, padding, TEXT_BYTES);
}

/* Why the message is not the right answer to the call under way, or NULL. */
static const char *fault(const Client *one, Slice message) {
    if (!is_text(member(message, "id"), one->id)) return "another id";
    Slice result = member(message, "result");
    if (!result.size) return "an error";
    if (!wish.list && member(message, "error").size) return "an error beside a result";
    if (!wish.list && is_text(member(result, "isError"), "true")) return "isError";
    if (wish.list) return has_right_list(result) ? NULL : "another number of tools";
    return has_right_text(one, result) ? NULL : "another text";
}

static bool is_progress(const Client *one, Slice message) {
    return is_text(unquoted(member(message, "method")), "notifications/progress")
        && is_text(member(member(message, "params"), "progressToken"), one->id);
}

/* Walk through an event stream; the message that is no notification is returned. */
static Slice read_stream(const Client *one, Slice stream) {
    Slice found = {NULL, 0};
    const char *at = stream.data, *end = at + stream.size;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) break;
        if (stop - at > 5 && !memcmp(at, "data:", 5)) {
            const char *from = skip_space(at + 5, stop);
            Slice message = {from, (size_t)(stop - from)};
            if (is_progress(one, message))
                score.events += score.is_open;
            else if (member(message, "id").size)
                found = message;
        }
        at = stop + 1;
    }
    return found;
}

static void judge(Client *one, Slice content) {
    Slice message = one->is_stream ? read_stream(one, content) : content;
    const char *why = one->status != 200 ? "another status" : fault(one, message);
    if (why)
        note_bad(why, content.size ? content : (Slice){one->in.data, one->head_size});
    else
        note_good(now() - one->since);
    if (score.is_open) score.bytes += content.size;
}

static bool take_session(Client *one, Slice content) {
    const char *why = one->status != 200 ? "initialize: another status" : NULL;
    Slice message = one->is_stream ? read_stream(one, content) : content;
    if (!why && (!is_text(member(message, "id"), one->id) || !member(message, "result").size)) why = "initialize: no result";
    Slice session = header((Slice){one->in.data, one->head_size}, "mcp-session-id");
    if (!why && session.size >= MAX_SESSION_BYTES) why = "initialize: a session id beyond bounds";
    if (why) {
        note_bad(why, content);
        return false;
    }
    if (session.size) memcpy(one->session, session.data, session.size);
    one->session[session.size] = 0;
    confirm_session(one);
    return true;
}

/* One whole answer has been read. */
static bool take_answer(Client *one, Slice content) {
    switch (one->state) {
    case INITIALIZING:
        return take_session(one, content);
    case INITIALIZED:
        if (one->status != 202 && one->status != 200) {
            note_bad("initialized: another status", content);
            return false;
        }
        prepare(one);
        if (wish.sessions) score.ready++;
        go_on(one);
        return true;
    case CALLING:
        judge(one, content);
        if (!one->is_counted) score.ready++;
        one->is_counted = true;
        go_on(one);
        return true;
    default:
        note_bad("an answer nobody asked for", content);
        return false;
    }
}

static bool read_head(Client *one) {
    const char *blank = memmem(one->in.data, one->in.size, "\r\n\r\n", 4);
    if (!blank) return one->in.size <= MAX_HEAD_BYTES;
    Slice head = {one->in.data, (size_t)(blank - one->in.data) + 2};
    if (head.size > MAX_HEAD_BYTES || head.size < 13 || memcmp(head.data, "HTTP/1.1 ", 9)) return false;
    one->status = (int)whole((Slice){head.data + 9, 3}, 999);
    Slice stated = header(head, "content-length"), type = header(head, "content-type");
    one->is_chunked = is_text(header(head, "transfer-encoding"), "chunked");
    one->is_last = is_text(header(head, "connection"), "close");
    one->is_stream = type.size >= 17 && !memcmp(type.data, "text/event-stream", 17);
    long long length = stated.data ? whole(stated, MAX_ANSWER_BYTES) : 0;
    if (length < 0) return false;
    one->length = (size_t)length;
    one->head_size = head.size + 2;
    one->scanned = one->head_size;
    one->content.size = 0;
    return true;
}

/* Move whole chunks into `content`: 1 when the last one is there, 0 when more must come, -1 for nonsense. */
static int read_chunks(Client *one) {
    for (;;) {
        char *start = one->in.data + one->scanned;
        size_t rest = one->in.size - one->scanned;
        char *line = memmem(start, rest, "\r\n", 2), *stop;
        if (!line) return rest > 32 ? -1 : 0;
        unsigned long long size = strtoull(start, &stop, 16); /* a line end follows, so it stops inside the buffer */
        if (stop == start || size > MAX_ANSWER_BYTES) return -1;
        size_t before = (size_t)(line - start) + 2;
        if (rest < before + size + 2) return 0;
        if (!reserve(&one->content, size, MAX_ANSWER_BYTES)) return -1;
        append(&one->content, line + 2, size);
        one->scanned += before + size + 2;
        if (size == 0) return 1;
    }
}

/* Read every whole answer that has arrived; false when the connection is of no more use. */
static bool read_answers(Client *one) {
    while (one->in.size) {
        if (!one->head_size && !read_head(one)) {
            note_bad("not an HTTP answer", (Slice){one->in.data, one->in.size});
            return false;
        }
        if (!one->head_size) return true;
        Slice content;
        if (one->is_chunked) {
            int done = read_chunks(one);
            if (done < 0) note_bad("broken chunks", (Slice){one->in.data, one->in.size});
            if (done <= 0) return done == 0;
            content = (Slice){one->content.data, one->content.size};
        } else {
            if (one->in.size - one->head_size < one->length) return true;
            content = (Slice){one->in.data + one->head_size, one->length};
            one->scanned = one->head_size + one->length;
        }
        bool is_last = one->is_last;
        if (!take_answer(one, content)) return false;
        drop(&one->in, one->scanned);
        one->head_size = 0;
        if (is_last) return false;
    }
    return true;
}

/* ---- connections ----------------------------------------------------------------------------------------- */

static void watch(Client *one, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (one->waits_to_write ? EPOLLOUT : 0), .data.ptr = one};
    if (epoll_ctl(poller, operation, one->fd, &event)) die("epoll_ctl failed");
}

static void want_write(Client *one, bool wanted) {
    if (one->waits_to_write == wanted) return;
    one->waits_to_write = wanted;
    watch(one, EPOLL_CTL_MOD);
}

static void connect_client(Client *one) {
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)one->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (one->fd < 0) die("cannot open a socket");
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(one->fd, (void *)&where, sizeof where) && errno != EINPROGRESS) die("cannot connect");
    one->state = CONNECTING;
    one->waits_to_write = true;
    one->head_size = one->in.size = one->out.size = one->sent = 0;
    if (tls_context) {
        one->tls = SSL_new(tls_context);
        if (!one->tls || !SSL_set_fd(one->tls, one->fd)) die("cannot set up TLS");
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(one->tls), "127.0.0.1");
        SSL_set_connect_state(one->tls);
    }
    watch(one, EPOLL_CTL_ADD);
}

static void disconnect(Client *one) {
    if (one->state == GONE) return;
    Client *before = NULL;
    for (Client *at = idle; at; before = at, at = at->next)
        if (at == one) {
            *(before ? &before->next : &idle) = one->next;
            if (idle_last == one) idle_last = before;
            break;
        }
    if (one->tls) SSL_free(one->tls);
    one->tls = NULL;
    close(one->fd);
    one->state = GONE;
}

/* The connection is of no more use; a call under way on it is a bad one. */
static void lose(Client *one) {
    bool was_ready = one->state == IDLE;
    if (one->state == CALLING) note_bad("the connection was lost", (Slice){"", 0});
    disconnect(one);
    if (wish.sessions) {
        if (!was_ready) score.lost++; /* a session outlives its connection */
        return;
    }
    if (++score.lost > MAX_LOST) {
        note_bad("the server closes its connections", (Slice){"", 0});
        return;
    }
    connect_client(one);
}

static ssize_t transfer(Client *one, bool is_read) {
    char *data = is_read ? one->in.data + one->in.size : one->out.data + one->sent;
    size_t size = is_read ? READ_BYTES : one->out.size - one->sent;
    ssize_t count;
    if (!one->tls) {
        count = is_read ? recv(one->fd, data, size, 0) : send(one->fd, data, size, MSG_NOSIGNAL);
        return count < 0 && (errno == EAGAIN || errno == EINTR) ? -2 : count;
    }
    ERR_clear_error();
    int done = is_read ? SSL_read(one->tls, data, (int)size) : SSL_write(one->tls, data, (int)size);
    if (done > 0) return done;
    int why = SSL_get_error(one->tls, done);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? -2 : -1;
}

static bool send_out(Client *one) {
    while (one->sent < one->out.size) {
        ssize_t count = transfer(one, false);
        if (count == -2) {
            want_write(one, true);
            return true;
        }
        if (count <= 0) return false;
        one->sent += (size_t)count;
    }
    one->out.size = one->sent = 0;
    want_write(one, false);
    return true;
}

static bool shake_hands(Client *one) {
    ERR_clear_error();
    int done = SSL_do_handshake(one->tls);
    if (done == 1) {
        begin(one);
        return send_out(one);
    }
    int why = SSL_get_error(one->tls, done);
    want_write(one, why == SSL_ERROR_WANT_WRITE);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return true;
    char text[200];
    ERR_error_string_n(ERR_peek_error(), text, sizeof text);
    note_bad("TLS", (Slice){text, strlen(text)});
    return false;
}

static bool arrive(Client *one) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(one->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        note_bad("cannot connect", (Slice){strerror(error), strlen(strerror(error))});
        return false;
    }
    if (one->tls) {
        one->state = HANDSHAKING;
        return shake_hands(one);
    }
    begin(one);
    return send_out(one);
}

static bool serve(Client *one, uint32_t events) {
    if (one->state == CONNECTING) return arrive(one);
    if (one->state == HANDSHAKING) return shake_hands(one);
    if (events & EPOLLOUT && !send_out(one)) return false;
    for (;;) {
        if (!reserve(&one->in, READ_BYTES, MAX_ANSWER_BYTES + MAX_HEAD_BYTES + READ_BYTES)) return false;
        ssize_t count = transfer(one, true);
        if (count == -2) break;
        if (count <= 0) return false;
        one->in.size += (size_t)count;
        if (!one->tls && count < READ_BYTES) break;
    }
    return read_answers(one) && send_out(one);
}

/* ---- the window ------------------------------------------------------------------------------------------ */

/* Processor time of a process so far, or -1: the clock that clock_getcpuclockid(3) names. */
static long long used(pid_t pid) {
    clockid_t clock;
    struct timespec at;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &at)) return -1;
    return (long long)at.tv_sec * (long long)SECOND + at.tv_nsec;
}

static long long used_before[MAX_WATCHED], used_after[MAX_WATCHED];

static void read_clocks(long long *into) {
    for (int i = 0; i < wish.watched_count; i++) into[i] = used(wish.watched[i]);
}

static void plan_window(uint64_t started) {
    score.closes = started + (uint64_t)(wish.seconds * (double)SECOND);
}

/* True while the run goes on. */
static bool keep_window(uint64_t started) {
    uint64_t at = now();
    if (score.lost > MAX_LOST) return false;
    if (!score.is_open) {
        bool is_warm = score.ready >= wish.clients && at >= started + (uint64_t)(wish.warm * (double)SECOND);
        if (!is_warm) return at < started + READY_LIMIT;
        score.is_open = true;
        score.opened = at;
        read_clocks(used_before);
        plan_window(at);
        return true;
    }
    if (at < score.closes) return true;
    uint64_t limit = score.opened + (uint64_t)(wish.most * (double)SECOND);
    return score.good + score.bad < wish.least && at < limit;
}

static void start_timer(void) {
    struct itimerspec every = {0};
    long long gap = (long long)((double)SECOND / wish.rate);
    every.it_interval.tv_nsec = every.it_value.tv_nsec = (long)(gap % (long long)SECOND);
    every.it_interval.tv_sec = every.it_value.tv_sec = (time_t)(gap / (long long)SECOND);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &timer};
    if (timer < 0 || timerfd_settime(timer, 0, &every, NULL) || epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event))
        die("cannot set a timer");
}

/* Calls that have become due go to idle clients, or wait in line with the time they were due. */
static void tick(uint64_t started) {
    static uint64_t made;
    uint64_t expired;
    if (read(timer, &expired, sizeof expired) != sizeof expired) return;
    double gap = (double)SECOND / wish.rate;
    while (expired--) {
        uint64_t since = started + (uint64_t)((double)++made * gap);
        if (due_last - due_first < MAX_DUE) due[due_last++ % MAX_DUE] = since;
    }
    while (idle && due_first != due_last) {
        Client *one = idle;
        idle = one->next;
        call(one, due[due_first++ % MAX_DUE]);
        if (!send_out(one)) lose(one);
    }
}

static int by_size(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

static double percentile(double share) {
    if (!score.latency_count) return 0;
    return score.latencies_us[(size_t)(share * (double)(score.latency_count - 1) + 0.5)];
}

static void report(void) {
    double seconds = score.is_open ? (double)(now() - score.opened) / (double)SECOND : 0;
    read_clocks(used_after);
    if (score.latency_count) qsort(score.latencies_us, score.latency_count, sizeof *score.latencies_us, by_size);
    printf("{\"good\":%ld,\"bad\":%ld,\"lost\":%ld,\"seconds\":%.6f,\"calls_per_s\":%.1f,\"requests\":%ld,\"events\":%ld,\"bytes\":%llu,",
           score.good, score.bad, score.lost, seconds, seconds > 0 ? (double)score.good / seconds : 0, score.requests,
           score.events, score.bytes);
    printf("\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"max_us\":%.2f,\"cpu_ns\":[", percentile(0.5), percentile(0.9),
           percentile(0.99), percentile(1));
    for (int i = 0; i < wish.watched_count; i++) {
        bool is_known = used_before[i] >= 0 && used_after[i] >= 0 && score.is_open;
        printf("%s%lld", i ? "," : "", is_known ? used_after[i] - used_before[i] : -1);
    }
    printf("],\"first_bad\":\"%s\"}\n", score.first_bad);
}

static void run(Client *clients) {
    static char input_mark;
    struct epoll_event events[EVENTS], input = {.events = EPOLLIN, .data.ptr = &input_mark};
    uint64_t started = now();
    bool is_told = false;
    if (wish.rate > 0) start_timer();
    for (int i = 0; i < wish.clients; i++) {
        clients[i].port = wish.ports[i % wish.port_count];
        connect_client(&clients[i]);
    }
    while (wish.sessions || keep_window(started)) {
        int count = epoll_wait(poller, events, EVENTS, 5);
        for (int i = 0; i < count; i++) {
            char byte;
            Client *one = events[i].data.ptr;
            if (events[i].data.ptr == &timer)
                tick(started);
            else if (events[i].data.ptr == &input_mark) {
                if (read(STDIN_FILENO, &byte, 1) <= 0) return;
            } else if (one->state != GONE && !serve(one, events[i].events))
                lose(one);
            else if (wish.sessions && !strcmp(wish.sessions, "leave") && one->state == IDLE)
                disconnect(one);
        }
        if (wish.sessions && !is_told && (score.ready + score.lost >= wish.clients || now() > started + READY_LIMIT)) {
            is_told = true;
            printf("ready %ld %s\n", score.ready, score.first_bad);
            fflush(stdout);
            if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input)) return;
        }
    }
}

/* ---- the words of the command line ----------------------------------------------------------------------- */

static void read_pids(char *list) {
    for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
        if (wish.watched_count == MAX_WATCHED) die("too many processes to watch");
        wish.watched[wish.watched_count++] = (pid_t)atoi(word);
    }
}

static void read_port(const char *value) {
    int port = atoi(value);
    if (port < 1 || port > 65535 || wish.port_count == MAX_PORTS) die("a port is out of bounds, or one too many");
    wish.ports[wish.port_count++] = port;
}

static void read_word(const char *name, char *value) {
    if (!strcmp(name, "--port") || !strcmp(name, "--also")) read_port(value);
    else if (!strcmp(name, "--path")) wish.path = value;
    else if (!strcmp(name, "--era")) wish.is_legacy = !strcmp(value, "legacy");
    else if (!strcmp(name, "--clients")) wish.clients = atoi(value);
    else if (!strcmp(name, "--tool")) wish.tool = value;
    else if (!strcmp(name, "--kind")) wish.kind = value;
    else if (!strcmp(name, "--list")) wish.list = atoi(value);
    else if (!strcmp(name, "--rate")) wish.rate = atof(value);
    else if (!strcmp(name, "--warm")) wish.warm = atof(value);
    else if (!strcmp(name, "--seconds")) wish.seconds = atof(value);
    else if (!strcmp(name, "--least")) wish.least = atol(value);
    else if (!strcmp(name, "--most")) wish.most = atof(value);
    else if (!strcmp(name, "--sessions")) wish.sessions = value;
    else if (!strcmp(name, "--ca")) wish.ca = value;
    else if (!strcmp(name, "--watch")) read_pids(value);
    else if (!strcmp(name, "--header")) {
        append_text(&wish.headers, value);
        append_text(&wish.headers, "\r\n");
    } else die("an unknown option; the head of load.c lists them");
}

static void prepare_tls(void) {
    tls_context = SSL_CTX_new(TLS_client_method());
    if (!tls_context || !SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION)
        || SSL_CTX_load_verify_locations(tls_context, wish.ca, NULL) != 1)
        die("cannot read the certificates of --ca");
    SSL_CTX_set_verify(tls_context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

int main(int count, char **words) {
    for (int i = 1; i < count; i += 2) {
        if (i + 1 >= count) die("an option without its value");
        read_word(words[i], words[i + 1]);
    }
    if (!wish.port_count || wish.clients < 1 || wish.clients > 10000 || wish.list < 0 || wish.rate < 0
        || wish.seconds <= 0 || strlen(wish.path) + strlen(wish.tool) > 300)
        die("an option is out of bounds");
    signal(SIGPIPE, SIG_IGN);
    memset(padding, 'x', TEXT_BYTES);
    big_text = make_big_text();
    if (wish.ca) prepare_tls();
    poller = epoll_create1(EPOLL_CLOEXEC);
    Client *clients = calloc((size_t)wish.clients, sizeof *clients);
    if (!clients || poller < 0) die("out of memory");
    run(clients);
    if (!wish.sessions) report();
    return 0;
}
