"""The head of an HTTP/1.1 request, read by a grammar that leaves nothing open.

Guarantees
- the whole head matches RFC 9112 without anything optional: one blank between the parts of the first line, no folded
  lines, no blanks before a colon, no bare CR or LF, no control characters; the target is a path of this server;
- a header whose meaning another reader could take from the other copy appears once;
- the length of the body is stated once and in one way: `Content-Length` in digits, or exactly `chunked` in HTTP/1.1,
  never both.

Bytes in, values out. Knows neither bodies nor connections (`http1` does).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.protocol.http_values import Head, HttpLimits

__all__ = [
    "MAX_CHUNK_FACTOR",
    "MAX_CHUNK_SLACK",
    "collect_header",
    "malformed",
    "parse_head",
]

MAX_CHUNK_SLACK: Final = 64 << 10  # what the lines between the chunks of a body may hold together, beyond
MAX_CHUNK_FACTOR: Final = 8  # this many bytes for each of the body; a body of one-byte chunks costs six

_HEAD: Final = re.compile(
    rb"([A-Z]{1,16}) (/[!-\"$-~]*|\*) HTTP/1\.([01])\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
)
_DIGITS: Final = re.compile(r"[0-9]{1,18}")  # a longer number would not fit every reader's integer
# Two readers that pick different copies of these would see different requests.
_SINGLE: Final = frozenset(
    {
        "authorization", "content-encoding", "content-length", "content-type", "expect", "host", "origin",
        "proxy-authorization", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


def parse_head(data: bytes, limits: HttpLimits) -> Head:
    """Read one head, from its first byte to the empty line that ends it.

    Raises:
        Refused: `body_too_large`.
        RemoteProtocolError: `http_malformed` or `header_too_large`.
    """
    match = _HEAD.fullmatch(data)
    if match is None:
        raise malformed("the request is not well-formed HTTP/1.1")
    method, target, minor, lines = match.groups()
    headers: dict[str, str] = {}
    fields = lines.split(b"\r\n")
    if len(fields) - 1 > limits.max_headers:
        raise RemoteProtocolError("header_too_large", f"a head has at most {limits.max_headers} lines")
    for field in fields[:-1]:
        name, _, value = field.partition(b":")
        if not collect_header(headers, name, value):
            raise malformed("a header that decides something appears twice")
    is_old = minor == b"0"
    if not is_old and "host" not in headers:
        raise malformed("HTTP/1.1 needs a Host header")
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise malformed("the only expectation is 100-continue")
    return Head(
        method=method.decode("ascii"),
        target=target.decode("ascii"),
        headers=headers,
        keep_alive=_keeps_alive(headers, is_old=is_old),
        is_old=is_old,
        length=_length(headers, limits, is_old=is_old),
    )


def collect_header(headers: dict[str, str], raw_name: bytes, raw_value: bytes) -> bool:
    """Add one header line; a second copy is joined with a comma where that is harmless, else False."""
    name = raw_name.decode("ascii").lower()
    # a reader that keeps the blanks around a value would see another value
    value = raw_value.decode("latin-1").strip(" \t")
    if name not in headers:
        headers[name] = value
    elif name in _SINGLE or name.startswith("mcp-"):
        return False
    else:
        headers[name] += ", " + value
    return True


def malformed(what: str) -> RemoteProtocolError:
    """The error of a message that is refused as such."""
    return RemoteProtocolError("http_malformed", what)


def _keeps_alive(headers: Mapping[str, str], *, is_old: bool) -> bool:
    """Whether the client will wait for more on this connection (RFC 9112 section 9.3)."""
    stated = headers.get("connection")
    if stated is None:
        return not is_old
    options = {option.strip(" \t").lower() for option in stated.split(",")}
    return "close" not in options and (not is_old or "keep-alive" in options)


def _length(headers: Mapping[str, str], limits: HttpLimits, *, is_old: bool) -> int | None:
    coding, stated = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if stated is not None or coding.lower() != "chunked" or is_old:
            raise malformed("the only transfer coding is chunked, in HTTP/1.1, without a length")
        return None
    if stated is None:
        return 0
    if not _DIGITS.fullmatch(stated):
        raise malformed("the length of the body is a number")
    length = int(stated)
    if length > limits.max_body_bytes:
        raise Refused("body_too_large", f"a body has at most {limits.max_body_bytes} bytes")
    return length
