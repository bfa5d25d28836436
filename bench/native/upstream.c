/* upstream.c: the MCP server at the end of every way that is measured; never the bottleneck (about 6 us a call).
 *
 *   bench-upstream [--tools N] [--groups G]           HTTP/1.1 on a free loopback port, which it prints
 *   bench-upstream --stdio [--tools N] [--groups G]   lines on standard input and output
 *
 * Guarantees
 * - speaks both eras on one endpoint: 2025-11-25 (initialize, ping; asks for no session id) and 2026-07-28
 *   (server/discover, `_meta` in every request);
 * - every answer carries the id of its request byte for byte; a request without a proper id is refused;
 * - keeps no state between requests, asks nothing of its client and never speaks first;
 * - lets its clients keep what it lists, so that no proxy has to ask again for each call;
 * - what is read is bounded (heads, bodies, lines); a peer beyond the bounds loses its connection;
 * - `GET /count` tells how many POSTs have arrived, so that a gateway's extra requests are seen;
 * - ends when its standard input ends.
 *
 * Tools: `echo` gives back `text` and promises to change nothing; `store` does the same without that promise; `big`
 * answers with 1 MiB of text; `steps` sends ten progress notifications before its answer when the request has a
 * progressToken (as an event stream, or as lines on stdio). `--tools N` fills the list up to N; with `--groups G` the
 * names are `p<group>__tool_<n>`, as a gateway in front of G servers would show them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"

enum {
    MAX_HEAD_BYTES = 16 << 10,
    MAX_BODY_BYTES = 4 << 20,
    MAX_UNSENT_BYTES = 64 << 20,
    MAX_TOOLS = 5000,
    READ_BYTES = 64 << 10,
    STEPS = 10,
    EVENTS = 256,
};

#define INFO "{\"name\":\"bench-upstream\",\"version\":\"1\"}"
#define MODERN_VERSION "io.modelcontextprotocol/protocolVersion"
#define MODERN_END ",\"resultType\":\"complete\",\"_meta\":{\"io.modelcontextprotocol/serverInfo\":" INFO "}}"

typedef enum { REPLY_NONE, REPLY_JSON, REPLY_STREAM } Reply;

typedef struct Connection {
    int fd;
    bool waits_to_write;
    Buffer in, out;
    size_t sent;
} Connection;

static int poller;
static long long posts;
static char *big_text;
static Buffer tool_list;
static Buffer body; /* scratch: the reply being built */

/* ---- the messages ---------------------------------------------------------------------------------------- */

static void append_tool(int index, int groups, int tools) {
    static const char *names[] = {"echo", "store", "big", "steps"};
    static const char *promises[] = {"true", NULL, "true", "true"};
    char text[1024], name[64];
    int per_group = tools / groups;
    if (groups > 1)
        snprintf(name, sizeof name, "p%d__tool_%03d", index / per_group, index % per_group);
    else if (index < 4)
        snprintf(name, sizeof name, "%s", names[index]);
    else
        snprintf(name, sizeof name, "tool_%03d", index);
    snprintf(text, sizeof text,
             "%s{\"name\":\"%s\",\"description\":\"Gives back the text it was given. Tool number %d of this server, "
             "described at the length that tools of real servers are described.\",\"inputSchema\":{\"type\":\"object\","
             "\"properties\":{\"text\":{\"type\":\"string\",\"description\":\"What to give back.\",\"maxLength\":65536},"
             "\"language\":{\"type\":\"string\",\"enum\":[\"en\",\"ja\",\"de\",\"fr\"],\"description\":\"Language of the "
             "text.\"}},\"required\":[\"text\"]}",
             index ? "," : "", name, index);
    append_text(&tool_list, text);
    if (index >= 4 || promises[index]) append_text(&tool_list, ",\"annotations\":{\"readOnlyHint\":true}");
    append_text(&tool_list, "}");
}

static void append_start(Buffer *out, Slice id, const char *member_name) {
    append_text(out, "{\"jsonrpc\":\"2.0\",\"id\":");
    append_slice(out, id);
    append_text(out, member_name);
}

static void append_error(Buffer *out, Slice id, const char *error) {
    if (id.size)
        append_start(out, id, ",\"error\":");
    else
        append_text(out, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":");
    append_text(out, error);
    append_text(out, "}");
}

/* A text result: `text` is the inside of a JSON string, escapes as they came. */
static void append_result(Buffer *out, Slice id, Slice text, bool modern) {
    append_start(out, id, ",\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"");
    append_slice(out, text);
    append_text(out, "\"}]");
    append_text(out, modern ? MODERN_END "}" : "}}");
}

static void append_progress(Buffer *out, Slice token, int step) {
    char text[128];
    append_text(out, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":");
    append_slice(out, token);
    snprintf(text, sizeof text, ",\"progress\":%d,\"total\":%d,\"message\":\"step %d of %d\"}}", step, STEPS, step, STEPS);
    append_text(out, text);
}

static bool is_id(Slice id) {
    if (!id.size) return false;
    return id.data[0] == '"' || whole(id, (long long)1e15) >= 0;
}

/* Every message of a `steps` call, each between `before` and `after`. */
static void append_steps(Buffer *out, Slice id, Slice text, Slice token, bool modern,
                         void (*put)(Buffer *out, Slice message)) {
    static Buffer message;
    for (int step = 1; step <= STEPS; step++) {
        message.size = 0;
        append_progress(&message, token, step);
        put(out, (Slice){message.data, message.size});
    }
    message.size = 0;
    append_result(&message, id, text, modern);
    put(out, (Slice){message.data, message.size});
}

static Reply call_tool(Buffer *out, Slice id, Slice params, bool modern, void (*put)(Buffer *, Slice)) {
    Slice name = unquoted(member(params, "name"));
    Slice text = unquoted(member(member(params, "arguments"), "text"));
    Slice token = member(member(params, "_meta"), "progressToken");
    if (is_text(name, "big")) {
        append_result(out, id, (Slice){big_text, BIG_TEXT_BYTES}, modern);
    } else if (is_text(name, "steps") && token.size && put) {
        append_steps(out, id, text, token, modern, put);
        return REPLY_STREAM;
    } else if (name.size) {
        append_result(out, id, text, modern);
    } else {
        append_error(out, id, "{\"code\":-32602,\"message\":\"tools/call needs a name\"}");
    }
    return REPLY_JSON;
}

static void append_initialized(Buffer *out, Slice id, Slice params) {
    static const char *known[] = {"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};
    Slice wish = unquoted(member(params, "protocolVersion"));
    const char *version = known[0];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is_text(wish, known[i])) version = known[i];
    append_start(out, id, ",\"result\":{\"protocolVersion\":\"");
    append_text(out, version);
    append_text(out, "\",\"capabilities\":{\"tools\":{}},\"serverInfo\":" INFO "}}");
}

/* The answer to one message. `put` frames the messages of a stream; without it there is none. */
static Reply answer(Buffer *out, Slice message, void (*put)(Buffer *, Slice)) {
    Slice method = unquoted(member(message, "method")), id = member(message, "id"), params = member(message, "params");
    if (!id.data || !method.data) {
        if (message.size && message.data[0] == '{') return REPLY_NONE; /* a notification, or an answer nobody asked for */
        append_error(out, (Slice){NULL, 0}, "{\"code\":-32700,\"message\":\"not a JSON object\"}");
        return REPLY_JSON;
    }
    if (!is_id(id)) {
        append_error(out, (Slice){NULL, 0}, "{\"code\":-32600,\"message\":\"the id must be a text or a whole number\"}");
        return REPLY_JSON;
    }
    bool modern = member(member(params, "_meta"), MODERN_VERSION).size > 0;
    if (is_text(method, "tools/call")) return call_tool(out, id, params, modern, put);
    if (is_text(method, "tools/list")) {
        append_start(out, id, ",\"result\":{\"tools\":");
        append(out, tool_list.data, tool_list.size);
        append_text(out, modern ? ",\"ttlMs\":3600000,\"cacheScope\":\"public\"" MODERN_END "}" : "}}");
    } else if (is_text(method, "initialize")) {
        append_initialized(out, id, params);
    } else if (is_text(method, "ping")) {
        append_start(out, id, ",\"result\":{}}");
    } else if (is_text(method, "server/discover") && modern) {
        append_start(out, id, ",\"result\":{\"supportedVersions\":[\"2026-07-28\",\"2025-11-25\"],");
        append_text(out, "\"capabilities\":{\"tools\":{}},\"ttlMs\":3600000,\"cacheScope\":\"public\"" MODERN_END "}");
    } else {
        append_error(out, id, "{\"code\":-32601,\"message\":\"method not found\"}");
    }
    return REPLY_JSON;
}

/* ---- HTTP ------------------------------------------------------------------------------------------------ */

static void put_event(Buffer *out, Slice message) {
    char size[32];
    static const char before[] = "event: message\ndata: ", after[] = "\n\n";
    snprintf(size, sizeof size, "%zx\r\n", message.size + sizeof before - 1 + sizeof after - 1);
    append_text(out, size);
    append_text(out, before);
    append_slice(out, message);
    append_text(out, after);
    append_text(out, "\r\n");
}

static void append_response(Buffer *out, const char *status, const char *type, Slice content) {
    char head[256];
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", status, type, content.size);
    append_text(out, head);
    append_slice(out, content);
}

static void respond(Connection *one, Slice head, Slice content) {
    if (!strncmp(head.data, "GET /count ", 11)) {
        char text[32];
        int size = snprintf(text, sizeof text, "%lld", posts);
        append_response(&one->out, "200 OK", "text/plain", (Slice){text, (size_t)size});
        return;
    }
    if (!strncmp(head.data, "DELETE ", 7)) {
        append_text(&one->out, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    if (strncmp(head.data, "POST ", 5)) {
        append_text(&one->out, "HTTP/1.1 405 Method Not Allowed\r\nAllow: POST, DELETE\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    posts++;
    body.size = 0;
    Slice accept = header(head, "accept");
    bool takes_events = accept.size && memmem(accept.data, accept.size, "text/event-stream", 17);
    switch (answer(&body, content, takes_events ? put_event : NULL)) {
    case REPLY_NONE:
        append_text(&one->out, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
        break;
    case REPLY_JSON:
        append_response(&one->out, "200 OK", "application/json", (Slice){body.data, body.size});
        break;
    case REPLY_STREAM:
        append_text(&one->out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n");
        append(&one->out, body.data, body.size);
        append_text(&one->out, "0\r\n\r\n");
        break;
    }
}

/* Answer every whole request that has arrived; false when the peer is beyond the bounds. */
static bool read_requests(Connection *one) {
    size_t done = 0;
    while (done < one->in.size) {
        const char *start = one->in.data + done;
        size_t rest = one->in.size - done;
        const char *blank = memmem(start, rest, "\r\n\r\n", 4);
        if (!blank) {
            if (rest > MAX_HEAD_BYTES) return false;
            break;
        }
        Slice head = {start, (size_t)(blank - start) + 2};
        if (head.size > MAX_HEAD_BYTES || header(head, "transfer-encoding").size) return false;
        Slice stated = header(head, "content-length");
        long long length = stated.data ? whole(stated, MAX_BODY_BYTES) : 0;
        if (length < 0) return false;
        if (rest < head.size + 2 + (size_t)length) break;
        respond(one, head, (Slice){blank + 4, (size_t)length});
        done += head.size + 2 + (size_t)length;
    }
    drop(&one->in, done);
    return true;
}

static void watch(Connection *one, int operation) {
    struct epoll_event event = {.events = one->waits_to_write ? EPOLLOUT : EPOLLIN, .data.ptr = one};
    if (epoll_ctl(poller, operation, one->fd, &event)) die("epoll_ctl failed");
}

/* Send what can be sent; nothing more is read while the peer does not keep up. */
static bool send_out(Connection *one) {
    while (one->sent < one->out.size) {
        ssize_t count = send(one->fd, one->out.data + one->sent, one->out.size - one->sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EAGAIN) break;
        if (count < 0 && errno != EINTR) return false;
        if (count > 0) one->sent += (size_t)count;
    }
    bool is_done = one->sent == one->out.size;
    if (is_done) one->out.size = one->sent = 0;
    if (one->waits_to_write == is_done) {
        one->waits_to_write = !is_done;
        watch(one, EPOLL_CTL_MOD);
    }
    return true;
}

static bool take(Connection *one) {
    if (one->waits_to_write) return send_out(one);
    for (;;) {
        if (!reserve(&one->in, READ_BYTES, MAX_BODY_BYTES + MAX_HEAD_BYTES + READ_BYTES)) return false;
        ssize_t count = recv(one->fd, one->in.data + one->in.size, READ_BYTES, 0);
        if (count == 0) return false;
        if (count < 0) return errno == EAGAIN || errno == EINTR;
        one->in.size += (size_t)count;
        if (!read_requests(one) || one->out.size > MAX_UNSENT_BYTES || !send_out(one)) return false;
        if (count < READ_BYTES || one->waits_to_write) return true;
    }
}

static void part(Connection *one) {
    close(one->fd);
    free(one->in.data);
    free(one->out.data);
    free(one);
}

static void welcome(int door) {
    for (;;) {
        int fd = accept4(door, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
        if (fd < 0) return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *one = calloc(1, sizeof *one);
        if (!one) die("out of memory");
        one->fd = fd;
        watch(one, EPOLL_CTL_ADD);
    }
}

static int open_door(void) {
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof where;
    int door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (door < 0 || bind(door, (void *)&where, size) || listen(door, 1024) || getsockname(door, (void *)&where, &size))
        die("cannot listen on loopback");
    printf("%d\n", ntohs(where.sin_port));
    fflush(stdout);
    return door;
}

static int serve_http(void) {
    static char door_mark, input_mark;
    struct epoll_event events[EVENTS];
    int door = open_door();
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &door_mark};
    epoll_ctl(poller, EPOLL_CTL_ADD, door, &event);
    event.data.ptr = &input_mark;
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event); /* fails for a file, which never ends: fine */
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            void *what = events[i].data.ptr;
            char byte;
            if (what == &door_mark)
                welcome(door);
            else if (what == &input_mark) {
                if (read(STDIN_FILENO, &byte, 1) <= 0) return 0;
            } else if (!take(what))
                part(what);
        }
    }
}

/* ---- stdio ----------------------------------------------------------------------------------------------- */

static void put_line(Buffer *out, Slice message) {
    append_slice(out, message);
    append_text(out, "\n");
}

static void wait_for(int fd, short what) {
    struct pollfd one = {.fd = fd, .events = what};
    poll(&one, 1, -1);
}

static bool write_all(Buffer *out) {
    size_t sent = 0;
    while (sent < out->size) {
        ssize_t count = write(STDOUT_FILENO, out->data + sent, out->size - sent);
        if (count > 0)
            sent += (size_t)count;
        else if (errno == EAGAIN)
            wait_for(STDOUT_FILENO, POLLOUT);
        else if (errno != EINTR)
            return false;
    }
    out->size = 0;
    return true;
}

static void answer_line(Buffer *out, Slice line) {
    if (skip_space(line.data, line.data + line.size) == line.data + line.size) return;
    if (answer(out, line, put_line) == REPLY_JSON) append_text(out, "\n");
}

static int serve_stdio(void) {
    Buffer in = {0}, out = {0};
    for (;;) {
        if (!reserve(&in, READ_BYTES, MAX_BODY_BYTES)) return 1;
        ssize_t count = read(STDIN_FILENO, in.data + in.size, READ_BYTES);
        if (count == 0) return 0;
        if (count < 0 && errno == EAGAIN) wait_for(STDIN_FILENO, POLLIN);
        if (count < 0) continue;
        in.size += (size_t)count;
        size_t done = 0;
        char *end;
        while ((end = memchr(in.data + done, '\n', in.size - done))) {
            answer_line(&out, (Slice){in.data + done, (size_t)(end - in.data) - done});
            done = (size_t)(end - in.data) + 1;
        }
        drop(&in, done);
        if (!write_all(&out)) return 1;
    }
}

/* ---------------------------------------------------------------------------------------------------------- */

static int number(const char *text, int least, int most) {
    long long value = text ? whole((Slice){text, strlen(text)}, most) : -1;
    if (value < least) die("usage: bench-upstream [--stdio] [--tools N] [--groups G]");
    return (int)value;
}

int main(int count, char **words) {
    int tools = 4, groups = 1;
    bool is_stdio = false;
    for (int i = 1; i < count; i++) {
        if (!strcmp(words[i], "--stdio"))
            is_stdio = true;
        else if (!strcmp(words[i], "--tools"))
            tools = number(words[++i], 4, MAX_TOOLS);
        else if (!strcmp(words[i], "--groups"))
            groups = number(words[++i], 1, 100);
        else
            number(NULL, 0, 0);
    }
    signal(SIGPIPE, SIG_IGN);
    big_text = make_big_text();
    append_text(&tool_list, "[");
    for (int i = 0; i < tools; i++) append_tool(i, groups, tools);
    append_text(&tool_list, "]");
    return is_stdio ? serve_stdio() : serve_http();
}
