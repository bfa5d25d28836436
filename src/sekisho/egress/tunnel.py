"""What a plugin asks of the gate: the heads of its HTTP requests, judged before anything is opened.

- Two forms are understood: `CONNECT host:port`, and one plain HTTP/1.1 request, either `GET http://host/path`
  sent to the proxy or `GET /path` sent to a synthetic address whose name is known.
- The host is a plain DNS name; the Host header must be present once and name the same host and port (a
  CONNECT may do without).
- What goes out is written anew: our own Host, our own framing, no hop-by-hop header. A body ends where its framing
  says; what follows it is a request of its own and judged like the first.
- The one upgrade that passes is to a WebSocket; the host's own answer decides whether it happens (`response`).
- Nothing here decides whether a host is allowed (`policy.hosts`), opens a socket, or looks inside TLS
  (`hello`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Refused
from sekisho.policy import canonical_host

__all__ = [
    "MAX_HEAD_BYTES",
    "OTHER_HOST",
    "ProxyRequest",
    "Target",
    "find_head",
    "judge_origin_request",
    "judge_proxy_request",
    "refusal_bytes",
]

MAX_HEAD_BYTES: Final = 32 << 10  # a head is held in memory before it is judged
OTHER_HOST: Final = "the Host header names another host"
_HTTP_PORT: Final = 80
_TLS_PORT: Final = 443

_HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"  # RFC 9113 section 3.4, up to what looks like a head
# What may match in two ways does not give back (`*+`): a head that nearly matches would cost a try for each of its bytes
# at each of its bytes, seconds during which no plugin's gate answers.
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/1\.([01])")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*+([\x21-\x7e\x80-\xff\t ]*+)")
_AUTHORITY: Final = re.compile(r"([^:@/?#\[\]]+)(?::([1-9][0-9]{0,4}))?")
_ABSOLUTE: Final = re.compile(r"[Hh][Tt][Tt][Pp]://([^/?#]*)(/[^?#]*+)?(\?[^#]*+)?")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
# RFC 9110 section 7.6.1, and what programs send to proxies only.
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer", b"upgrade"}
)
_OURS: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A canonical host and a port; not yet permitted."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRequest:
    """One judged request. `head` is what goes out, empty for a tunnel; `body_length` None means chunked.

    `is_last`: the client wants no other request on this connection. `is_upgrade`: it asks for a WebSocket.
    """

    target: Target
    is_tunnel: bool
    head: bytes = b""
    body_length: int | None = 0
    method: bytes = b"CONNECT"
    is_last: bool = False
    is_upgrade: bool = False


def find_head(data: bytes) -> int | None:
    """Where the head ends in these bytes; None while it is not complete."""
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if end >= 0:
        return end + 4
    if len(data) >= MAX_HEAD_BYTES:
        raise _refused("the request head is too long")
    return None


def judge_proxy_request(head: bytes) -> ProxyRequest:
    """Read the head of a request that was sent to the proxy."""
    method, text, fields = _parse(head)
    if method == b"CONNECT":
        target = _authority(text, default_port=None)
        if _values(
            fields, b"host"
        ):  # many clients send none here, and the request line already names the host
            _check_host(fields, target, default_port=target.port)
        return ProxyRequest(target=target, is_tunnel=True)
    match = _ABSOLUTE.fullmatch(text)
    if match is None:
        raise _refused("the proxy takes CONNECT or an absolute http:// address")
    target = _authority(match[1], default_port=_HTTP_PORT)
    return _plain_request(method, (match[2] or "/") + (match[3] or ""), fields, target)


def judge_origin_request(head: bytes, target: Target, *, is_secure: bool = False) -> ProxyRequest:
    """Read the head of a request that was sent straight to a host whose name is already known.

    `is_secure`: it came inside TLS that the gate opened, and goes out inside TLS.
    """
    method, text, fields = _parse(head)
    if method == b"CONNECT" or not text.startswith("/"):
        raise _refused("a request to a host names a path")
    return _plain_request(method, text, fields, target, is_secure=is_secure)


def refusal_bytes(reason: str, *, is_unreachable: bool = False) -> bytes:
    """The answer when nothing was opened: 403 (or 502) and one line that names the rule (or the problem)."""
    status = b"502 Bad Gateway" if is_unreachable else b"403 Forbidden"
    body = f"sekisho egress gate: {reason}\n".encode()
    return (
        b"HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (status, len(body), body)
    )


def _parse(head: bytes) -> tuple[bytes, str, list[tuple[bytes, bytes]]]:
    if head == _HTTP2_PREFACE:
        raise _refused("not an HTTP/1.1 request: HTTP/2 is not spoken here")
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request_line = _REQUEST_LINE.fullmatch(first)
    # Python before 3.12 opens its tunnels in HTTP/1.0; what is inside a tunnel has its own version.
    if request_line is None or (request_line[3] == b"0" and request_line[1] != b"CONNECT"):
        raise _refused("not an HTTP/1.1 request")
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise _refused("a header line is malformed")
        fields.append((field[1].lower(), field[2].rstrip(b" \t")))
    return request_line[1], request_line[2].decode("ascii"), fields


def _plain_request(
    method: bytes,
    path: str,
    fields: list[tuple[bytes, bytes]],
    target: Target,
    *,
    is_secure: bool = False,
) -> ProxyRequest:
    if target.port == _TLS_PORT and not is_secure:
        raise _refused("port 443 is for TLS only")
    usual_port = _TLS_PORT if is_secure else _HTTP_PORT
    _check_host(fields, target, default_port=usual_port)
    length, framing = _framing(fields)
    named = _words(fields, b"connection")
    is_upgrade = b"upgrade" in named and _is_websocket(method, fields, length)
    kept = [field for field in fields if field[0] not in _HOP_BY_HOP | _OURS | named]
    host = target.host if target.port == usual_port else f"{target.host}:{target.port}"
    lines = [b"%s %s HTTP/1.1" % (method, path.encode("ascii")), b"host: " + host.encode("ascii")]
    lines += [b"%s: %s" % field for field in kept]
    is_last = b"close" in named or b"close" in _words(fields, b"proxy-connection")
    if is_upgrade:
        framing = [b"connection: upgrade", b"upgrade: websocket"]
    elif is_last:
        framing = [*framing, b"connection: close"]
    return ProxyRequest(
        target=target,
        is_tunnel=False,
        head=b"\r\n".join([*lines, *framing, b"", b""]),
        body_length=length,
        method=method,
        is_last=is_last,
        is_upgrade=is_upgrade,
    )


def _is_websocket(method: bytes, fields: list[tuple[bytes, bytes]], length: int | None) -> bool:
    """Whether this is the opening handshake of RFC 6455 section 4.1; any other upgrade is not passed on."""
    return (
        method == b"GET"
        and length == 0
        and _words(fields, b"upgrade") == {b"websocket"}
        and len(_values(fields, b"sec-websocket-key")) == 1
        and _values(fields, b"sec-websocket-version") == [b"13"]
    )


def _words(fields: list[tuple[bytes, bytes]], name: bytes) -> set[bytes]:
    return {word.strip().lower() for word in b",".join(_values(fields, name)).split(b",")}


def _framing(fields: list[tuple[bytes, bytes]]) -> tuple[int | None, list[bytes]]:
    lengths, encodings = _values(fields, b"content-length"), _values(fields, b"transfer-encoding")
    if len(lengths) + len(encodings) > 1:
        raise _refused("the length of the body is stated more than once")  # request smuggling
    if encodings:
        if encodings[0].lower() != b"chunked":
            raise _refused("the only transfer encoding is chunked")
        return None, [b"transfer-encoding: chunked"]
    if not lengths:
        return 0, []
    if not _LENGTH.fullmatch(lengths[0]):
        raise _refused("the length of the body is not a number")
    return int(lengths[0]), [b"content-length: %d" % int(lengths[0])]


def _check_host(fields: list[tuple[bytes, bytes]], target: Target, *, default_port: int) -> None:
    hosts = _values(fields, b"host")
    if len(hosts) != 1:
        raise _refused("exactly one Host header is needed")
    if _authority(hosts[0].decode("latin-1"), default_port=default_port) != target:
        raise _refused(OTHER_HOST)


def _authority(text: str, *, default_port: int | None) -> Target:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise _refused("the host is not a plain DNS name (addresses are never accepted)")
    port = int(match[2]) if match[2] else default_port
    if port is None or port > 65535:
        raise _refused("the port is missing or is not a port")
    return Target(host=canonical_host(match[1]), port=port)


def _values(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for field, value in fields if field == name]


def _refused(reason: str) -> Refused:
    return Refused("egress_refused", reason)
