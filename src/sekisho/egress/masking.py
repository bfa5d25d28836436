"""Answers of a host that knows a secret: where it writes the secret back, the plugin reads its placeholder.

- Header values and bodies are searched as they stream; nothing is collected but the bytes of a possible beginning. A body
  changes its length by it, so it is framed anew, in chunks.
- A body with a content coding, which was asked for without, is decoded (`decoding`) and passed on without, as it was
  asked for: the head then tells neither the coding nor digests of what was coded, and its entity tag is a weak one. A
  coding that cannot be read is refused before a byte of it passes, and so is a part of an answer, which was asked for
  whole. What follows an upgrade is not read and not changed.
- A head that is malformed or too long is refused.

This keeps an honest host from handing a secret to the plugin by accident (an echo, an error page, a debug header). It
is no proof against a host that writes it back in another form, or in parts.

Judgement only. Knows no socket.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from sekisho.egress.decoding import Decoder, coding_of
from sekisho.errors import Refused

__all__ = ["AnswerMask", "StreamReplacer"]

MAX_HEAD_BYTES: Final = 64 << 10  # of an answer, held in memory before it is passed on
MAX_CHUNK_LINE_BYTES: Final = (
    4 << 10
)  # chunk extensions and trailers of a host may not be used to hold memory
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_FIELD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*")
_FRAMING: Final = (b"content-length:", b"transfer-encoding:", b"trailer:")
_OF_CODED: Final = (
    b"content-encoding:",
    b"content-digest:",
    b"repr-digest:",
    b"digest:",
    b"content-md5:",
    b"accept-ranges:",
)
_PARTIAL: Final = frozenset({206, 226})  # RFC 9110 section 15.3.7; RFC 3229 section 10.4.1


class StreamReplacer:
    """Replaces words in bytes that come in pieces, the leftmost and longest first."""

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._by_word = dict(pairs)
        self._words = sorted(self._by_word, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._words)) or b"(?!)")
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can be passed on now."""
        data, out, at = self._held + data, [], 0
        while True:
            open_at = self._open_at(data, at)
            found = self._pattern.search(data, at)
            if found is None or found.start() >= open_at:
                break
            out += [data[at : found.start()], self._by_word[found[0]]]
            at = found.end()
        out.append(data[at:open_at])
        self._held = data[open_at:]
        return b"".join(out)

    def finish(self) -> bytes:
        """What was held back, at the end."""
        held, self._held = self._held, b""
        return self._pattern.sub(lambda found: self._by_word[found[0]], held)

    def _open_at(self, data: bytes, start: int) -> int:
        """Where a word may have begun that is not whole yet; the end when there is none."""
        first = len(data)
        for word in self._words:
            at = data.find(word[:1], max(start, len(data) - len(word) + 1), first)
            while at >= 0:
                if word.startswith(data[at:]):
                    first = at
                    break
                at = data.find(word[:1], at + 1, first)
        return first


class AnswerMask:
    """One answer, from its head to its end."""

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]], *, is_head_only: bool = False) -> None:
        self._pairs = tuple(pairs)
        self._is_head_only = is_head_only
        self._body = StreamReplacer(pairs)
        self._decoder: Decoder | None = None
        self._waiting = b""
        self._at = 0  # a position, not a shorter copy: a read full of tiny chunks must cost linear time
        self._content: list[bytes] = []  # of this read: many tiny chunks become one
        self._left = 0
        self._state: Literal["head", "length", "size", "data", "data end", "trailer", "open", "raw", "done"]
        self._state = "head"

    def feed(self, data: bytes) -> bytes:
        """What of these bytes goes to the plugin."""
        self._waiting, self._at = self._waiting[self._at :] + data, 0
        out: list[bytes] = []
        while self._at < len(self._waiting):
            piece = self._step()
            if piece is None:
                break
            out.append(piece)
        out.append(self._framed_content())
        return b"".join(out)

    def finish(self) -> bytes:
        """What is left when the host has ended. An answer that was cut short stays cut short."""
        if self._state != "open":
            return b""
        if self._decoder is None:
            return self._body.finish()
        return self._last() if self._decoder.is_whole else b""

    def _step(self) -> bytes | None:
        match self._state:
            case "head":
                return self._take_head()
            case "length" | "data":
                return self._take_data()
            case "size" | "data end" | "trailer":
                line = self._take_line()
                return None if line is None else self._end_line(line)
            case "open" if self._decoder is None:
                return self._body.feed(self._take(len(self._waiting)))
            case "open":
                self._content.append(self._take(len(self._waiting)))
                return b""
            case "raw":
                return self._take(len(self._waiting))
            case "done":
                self._take(len(self._waiting))  # what follows is no part of this answer
                return None

    def _take(self, count: int) -> bytes:
        taken = self._waiting[self._at : self._at + count]
        self._at += len(taken)
        return taken

    def _take_head(self) -> bytes | None:
        end = self._waiting.find(b"\r\n\r\n", self._at, self._at + MAX_HEAD_BYTES)
        if end < 0:
            if len(self._waiting) - self._at >= MAX_HEAD_BYTES:
                raise _unreadable("the head of the host's answer is too long")
            return None
        first, *fields = self._take(end + 4 - self._at)[:-4].split(b"\r\n")
        status = _STATUS.fullmatch(first)
        if status is None or any(_FIELD.fullmatch(one) is None for one in fields):
            raise _unreadable("the head of the host's answer is malformed")
        code = int(status[1])
        fields = self._enter_body(code, fields)
        head = b"\r\n".join((b"HTTP/1.1" + first[8:], *fields, b"", b""))
        mask = StreamReplacer(self._pairs)
        return mask.feed(head) + mask.finish()

    def _enter_body(self, code: int, fields: list[bytes]) -> list[bytes]:
        """Choose how the body is read; the fields that describe it as the plugin will see it."""
        if code == 101:
            self._state = "raw"
            return fields
        if code < 200:
            return fields  # another head follows
        if code in _PARTIAL and not self._is_head_only:
            raise Refused(
                "secret_refused", "the host gave a part of its answer, though it was asked for all of it"
            )
        fields = self._enter_coding(code, fields)
        if self._is_head_only or code in (204, 304):
            self._state = "done"
            return fields
        lengths, encodings = set(_values(fields, b"content-length:")), _values(fields, b"transfer-encoding:")
        if encodings:
            if [one.lower() for one in encodings] != [b"chunked"] or lengths:
                raise _unreadable("the host frames its answer in two ways")
            self._state = "size"
        elif not lengths:
            self._state = "open"
            if self._decoder is None:
                return fields
        else:
            length = lengths.pop()
            if lengths or not _LENGTH.fullmatch(length):
                raise _unreadable("the host frames its answer in two ways")
            self._left = int(length)
            if not self._left:
                self._state = "done"
                return fields
            self._state = "length"
        return [
            *(one for one in fields if not one.lower().startswith(_FRAMING)),
            b"transfer-encoding: chunked",
        ]

    def _enter_coding(self, code: int, fields: list[bytes]) -> list[bytes]:
        """Read the coding; the fields without it. Where no body comes its length is not told: it is the coded one."""
        is_bodiless = self._is_head_only or code in (204, 304)
        if not is_bodiless and _values(fields, b"content-length:") == [b"0"]:
            return fields
        coding = coding_of(_values(fields, b"content-encoding:"), is_read=not is_bodiless)
        if not coding:
            return fields
        if not is_bodiless:
            self._decoder = Decoder(coding)
        dropped = (*_OF_CODED, b"content-length:") if is_bodiless else _OF_CODED
        kept = (one for one in fields if not one.lower().startswith(dropped))
        return [_weak(one) if one.lower().startswith(b"etag:") else one for one in kept]

    def _take_data(self) -> bytes:
        piece = self._take(self._left)
        self._left -= len(piece)
        self._content.append(piece)
        if self._left:
            return b""
        if self._state == "data":
            self._state = "data end"
            return b""
        self._state = "done"
        return self._last()

    def _framed_content(self) -> bytes:
        content, self._content = b"".join(self._content), []
        if self._decoder is not None and content:
            content = self._decoder.feed(content)
        return _chunk(self._body.feed(content))

    def _take_line(self) -> bytes | None:
        end = self._waiting.find(b"\r\n", self._at, self._at + MAX_CHUNK_LINE_BYTES)
        if end < 0:
            if len(self._waiting) - self._at >= MAX_CHUNK_LINE_BYTES:
                raise _unreadable("the host's chunks are malformed")
            return None
        return self._take(end + 2 - self._at)[:-2]

    def _end_line(self, line: bytes) -> bytes:
        if self._state == "size":
            size = _CHUNK_SIZE.fullmatch(line)
            if size is None:
                raise _unreadable("the host's chunks are malformed")
            self._left = int(size[1], 16)
            self._state = "data" if self._left else "trailer"
        elif self._state == "data end":
            if line:
                raise _unreadable("the host's chunks are malformed")
            self._state = "size"
        elif not line:  # a trailer is dropped: its fields were not announced to whoever reads the head
            self._state = "done"
            return self._last()
        return b""

    def _last(self) -> bytes:
        content = self._framed_content()
        if self._decoder is not None and not self._decoder.is_whole:
            raise _unreadable("the host's compressed answer was cut short")
        return content + _chunk(self._body.finish()) + b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


def _weak(field: bytes) -> bytes:
    """The same entity tag, for what means the same and is not byte for byte the same (RFC 9110, section 8.8.1)."""
    name, _, value = field.partition(b":")
    value = value.strip(b" \t")
    return field if value.startswith(b"W/") else b"%s: W/%s" % (name, value)


def _values(fields: Sequence[bytes], name: bytes) -> list[bytes]:
    return [one[len(name) :].strip(b" \t") for one in fields if one.lower().startswith(name)]


def _unreadable(reason: str) -> Refused:
    return Refused("egress_refused", reason)
