"""HTTP/1.1 messages into bytes: whole responses, and heads of requests.

Guarantees that nothing a stranger chose can end a line: a name, value or target that would tear the message
apart is a bug of ours and is refused before a byte is written. A length is always stated, never guessed by
the reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from sekisho.errors import LocalProtocolError

__all__ = ["header_lines", "request_head_bytes", "response_bytes"]

_SAFE_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SAFE_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")
_SAFE_TARGET: Final = re.compile(r"[\x21-\x7e]+")
_USUAL_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def response_bytes(
    status: int,
    body: bytes,
    *,
    content_type: str = "application/json",
    headers: Iterable[tuple[str, str]] = (),
    close: bool = False,
) -> bytes:
    """One whole response, with its length stated."""
    if status == 200 and body and not headers and not close and content_type == "application/json":
        return _USUAL_HEAD % len(body) + body
    head = _STATUS_LINES[status]
    if body:
        head += _lines((("Content-Type", content_type),))
    if status >= 200 and status not in {204, 304}:  # RFC 9110 section 8.6 forbids a length there
        head += f"Content-Length: {len(body)}\r\n"
    if close:
        head += "Connection: close\r\n"
    return (head + _lines(headers) + "\r\n").encode("ascii") + body


def request_head_bytes(
    method: str, target: str, host: str, headers: Iterable[tuple[str, str]], body_len: int
) -> bytes:
    """The head of a request whose body of `body_len` bytes follows."""
    if not (_SAFE_NAME.fullmatch(method) and _SAFE_TARGET.fullmatch(target) and _SAFE_TARGET.fullmatch(host)):
        raise LocalProtocolError("internal", "a request line would be torn apart")
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"
    if body_len or method not in {"GET", "HEAD", "DELETE"}:
        head += f"Content-Length: {body_len}\r\n"
    return (head + _lines(headers) + "\r\n").encode("ascii")


def header_lines(headers: Iterable[tuple[str, str]]) -> bytes:
    """Header lines to stand in a head; raises `LocalProtocolError` for what cannot be one."""
    return _lines(headers).encode("ascii")


def _lines(headers: Iterable[tuple[str, str]]) -> str:
    text = ""
    for name, value in headers:
        # A line break in a value would let whoever chose it write headers, or a whole second message.
        if not _SAFE_NAME.fullmatch(name) or not _SAFE_VALUE.fullmatch(value):
            raise LocalProtocolError("internal", f"the header {name!r} cannot be written")
        text += f"{name}: {value}\r\n"
    return text
