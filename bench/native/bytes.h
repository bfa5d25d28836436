/* Growing buffers, and slices of JSON and HTTP text found in them. Shared by upstream.c and load.c.
 *
 * Guarantees: no function reads outside the slice it was given, whatever bytes stand in it (both programs read what
 * another process sent); a buffer grows to the limit its owner states and no further; running out of memory ends the
 * program with a message. Finds members of JSON objects without copying. Does not validate JSON beyond what finding
 * needs: both ends of a benchmark are known, and a proxy between them that breaks an answer is seen by comparison.
 */
#ifndef BENCH_BYTES_H
#define BENCH_BYTES_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *data;
    size_t size;
} Slice;

typedef struct {
    char *data;
    size_t size, room;
} Buffer;

enum { BIG_TEXT_BYTES = 1 << 20 };

static inline void die(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* Room for `more` bytes behind those already there; false when that would exceed `limit`. */
static inline bool reserve(Buffer *buffer, size_t more, size_t limit) {
    if (more > limit || buffer->size > limit - more) return false;
    size_t wanted = buffer->size + more;
    if (wanted <= buffer->room) return true;
    size_t room = buffer->room ? buffer->room : 4096;
    while (room < wanted) room *= 2;
    char *data = realloc(buffer->data, room);
    if (!data) die("out of memory");
    buffer->data = data;
    buffer->room = room;
    return true;
}

/* Append what this program itself wrote or has already bounded. */
static inline void append(Buffer *buffer, const void *data, size_t size) {
    if (!reserve(buffer, size, (size_t)1 << 30)) die("a buffer grew beyond 1 GiB");
    if (size) memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
}

static inline void append_text(Buffer *buffer, const char *text) { append(buffer, text, strlen(text)); }
static inline void append_slice(Buffer *buffer, Slice slice) { append(buffer, slice.data, slice.size); }

/* Forget the first `count` bytes. */
static inline void drop(Buffer *buffer, size_t count) {
    if (count < buffer->size) memmove(buffer->data, buffer->data + count, buffer->size - count);
    buffer->size -= count;
}

static inline bool is_text(Slice slice, const char *text) {
    size_t size = strlen(text);
    return slice.size == size && !memcmp(slice.data, text, size);
}

static inline bool is_same(Slice one, Slice other) {
    return one.size == other.size && !memcmp(one.data, other.data, one.size);
}

static inline bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static inline const char *skip_space(const char *at, const char *end) {
    while (at < end && is_space(*at)) at++;
    return at;
}

/* Behind the string that begins at `at`, or NULL. memchr finds the quote, so that 1 MiB of text costs little. */
static inline const char *skip_string(const char *at, const char *end) {
    const char *start = ++at;
    while ((at = memchr(at, '"', (size_t)(end - at)))) {
        size_t slashes = 0;
        while (at - slashes > start && at[-1 - (long)slashes] == '\\') slashes++;
        at++;
        if (slashes % 2 == 0) return at;
    }
    return NULL;
}

/* Behind the value that begins at `at`, or NULL. */
static inline const char *skip_value(const char *at, const char *end) {
    if (at >= end) return NULL;
    if (*at == '"') return skip_string(at, end);
    if (*at != '{' && *at != '[') {
        const char *start = at;
        while (at < end && !is_space(*at) && *at != ',' && *at != '}' && *at != ']') at++;
        return at > start ? at : NULL;
    }
    size_t depth = 0;
    while (at < end) {
        char c = *at;
        if (c == '"') {
            if (!(at = skip_string(at, end))) return NULL;
            continue;
        }
        at++;
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && --depth == 0) return at;
    }
    return NULL;
}

/* The value of a member of an object, as it is written; empty when it is not there. Names are compared as bytes. */
static inline Slice member(Slice object, const char *name) {
    const Slice none = {NULL, 0};
    if (!object.data) return none;
    const char *end = object.data + object.size, *at = skip_space(object.data, end);
    if (at >= end || *at != '{') return none;
    at = skip_space(at + 1, end);
    while (at < end && *at == '"') {
        const char *key = at + 1, *key_end = skip_string(at, end);
        if (!key_end) return none;
        at = skip_space(key_end, end);
        if (at >= end || *at != ':') return none;
        at = skip_space(at + 1, end);
        const char *value = at;
        if (!(at = skip_value(at, end))) return none;
        if (is_text((Slice){key, (size_t)(key_end - 1 - key)}, name)) return (Slice){value, (size_t)(at - value)};
        at = skip_space(at, end);
        if (at < end && *at == ',') at = skip_space(at + 1, end);
    }
    return none;
}

/* Step through an array: the first or next element, empty at the end. `*at` starts as NULL. */
static inline Slice next_element(Slice array, const char **at) {
    const Slice none = {NULL, 0};
    if (!array.data) return none;
    const char *end = array.data + array.size;
    if (!*at) {
        *at = skip_space(array.data, end);
        if (*at >= end || **at != '[') return none;
    } else if (*at >= end || **at != ',') {
        return none;
    }
    const char *start = skip_space(*at + 1, end), *stop = start < end ? skip_value(start, end) : NULL;
    if (!stop) return none;
    *at = skip_space(stop, end);
    return (Slice){start, (size_t)(stop - start)};
}

/* A string without its quotes, escapes as they stand; empty when the value is no string. */
static inline Slice unquoted(Slice value) {
    if (value.size < 2 || value.data[0] != '"') return (Slice){NULL, 0};
    return (Slice){value.data + 1, value.size - 2};
}

/* A whole number without sign, or -1. */
static inline long long whole(Slice digits, long long most) {
    long long value = 0;
    if (!digits.size) return -1;
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') return -1;
        value = value * 10 + (digits.data[i] - '0');
        if (value > most) return -1;
    }
    return value;
}

/* The value of a header in a head (lines ending in CRLF, the first line included), trimmed; empty when absent. */
static inline Slice header(Slice head, const char *lower_name) {
    size_t name_size = strlen(lower_name);
    const char *end = head.data + head.size, *line = memchr(head.data, '\n', head.size);
    while (line && ++line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const char *line_end = stop ? stop : end;
        if ((size_t)(line_end - line) > name_size && line[name_size] == ':') {
            size_t i = 0;
            while (i < name_size && (line[i] | ((line[i] >= 'A' && line[i] <= 'Z') << 5)) == lower_name[i]) i++;
            if (i == name_size) {
                const char *from = skip_space(line + name_size + 1, line_end);
                while (line_end > from && is_space(line_end[-1])) line_end--;
                return (Slice){from, (size_t)(line_end - from)};
            }
        }
        line = stop;
    }
    return (Slice){NULL, 0};
}

/* The megabyte that the tool `big` answers with: no byte of it needs an escape in JSON, and it does not repeat. */
static inline char *make_big_text(void) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ,";
    char *text = malloc(BIG_TEXT_BYTES);
    if (!text) die("out of memory");
    unsigned long long state = 0x9e3779b97f4a7c15ull;
    for (size_t i = 0; i < BIG_TEXT_BYTES; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        text[i] = letters[state >> 58];
    }
    return text;
}

#endif
