"""What a plugin says to the egress gate: TLS greetings, DNS questions, proxy requests and their bodies."""

from __future__ import annotations

import contextlib
import ssl
import struct
from functools import cache
from ipaddress import IPv4Address

from fuzz.http import by_h11
from fuzz.values import hold, pieces
from sekisho.egress.body import BodyReader
from sekisho.egress.hello import MAX_HELLO_BYTES, server_name
from sekisho.egress.names import SyntheticNames, answer
from sekisho.egress.tunnel import find_head, judge_proxy_request
from sekisho.errors import SekishoError

__all__ = ["greeting", "proxy_request", "question"]

_SEED_BYTES = 2


def greeting(data: bytes) -> None:
    """OpenSSL finds the same server name, or refuses the greeting; more bytes never change a name that was found."""
    data = data[:MAX_HELLO_BYTES]
    try:
        name = server_name(data)
    except SekishoError:
        return
    if name is None:
        return
    hold(server_name(data + b"\x00" * 16) == name, "later bytes change the name")
    seen = _name_for_openssl(data)
    hold(
        not seen or [one.lower().rstrip(".") for one in seen] == [name],
        f"OpenSSL sees {seen!r}, we see {name!r}",
    )


_seen: list[str] = []


@cache
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def remember(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        _seen.append(name or "")

    context.sni_callback = remember
    return context


def _name_for_openssl(data: bytes) -> list[str]:
    _seen.clear()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(data)
    incoming.write_eof()
    # without a certificate every handshake fails, but the name is seen before
    with contextlib.suppress(ssl.SSLError, UnicodeError):
        _context().wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    return list(_seen)


def question(data: bytes) -> None:
    """A reply repeats id and question, and gives an address only for a listed name, which then owns it."""
    names = SyntheticNames(max_names=4)
    reply = answer(data, lambda host: host.endswith("example.com"), names)
    if reply is None:
        return
    ident, flags, questions, answers, *_ = struct.unpack_from("!6H", reply.data)
    hold(reply.data[:2] == data[:2] and bool(flags & 0x8000), f"the reply is not one to {ident}")
    hold(len(reply.data) <= len(data) + 16, "the reply amplifies")
    if questions:
        body = reply.data[12:]
        hold(data[12:].startswith(body[: len(body) - 16 * answers]), "the reply answers another question")
    if answers:
        hold(reply.refused is None, "a refused name got an address")
        name = names.name_of(IPv4Address(reply.data[-4:]))
        hold(
            name is not None and name.endswith("example.com"),
            "an address was given to a name that is not listed",
        )


def proxy_request(data: bytes) -> None:
    """What leaves is exactly one request to the judged host, in whatever pieces the body came."""
    seed, stream = int.from_bytes(data[:_SEED_BYTES]), data[_SEED_BYTES:]
    try:
        end = find_head(stream)
        if end is None:
            return
        request = judge_proxy_request(stream[:end])
    except SekishoError:
        return
    if request.is_tunnel:
        return
    cut, whole = (
        _body(request.body_length, list(pieces(stream[end:], seed))),
        _body(request.body_length, [stream[end:]]),
    )
    hold((cut is None) == (whole is None), "the body is accepted in some pieces only")
    if cut is None:
        return
    sent = by_h11(request.head + cut)  # h11 knows every method, as the gate does
    is_whole = request.body_length is None or len(cut) == request.body_length
    hold(len(sent) <= 1, "a second request rides behind the first")
    hold(
        bool(sent) or not is_whole or not _ended(request.body_length, stream[end:]),
        "h11 refuses what goes out",
    )
    host = request.target.host
    for _, target, headers, _ in sent:
        hold(target.startswith("/"), "another form of target goes out")
        hold(headers["host"] in (host, f"{host}:{request.target.port}"), "another host is named")
        hold(
            not {"proxy-authorization", "te", "trailer", "upgrade"} & headers.keys(),
            "a hop's header goes out",
        )


def _ended(length: int | None, body: bytes) -> bool:
    reader = BodyReader(length)
    reader.feed(body)
    return reader.is_done


def _body(length: int | None, stream: list[bytes]) -> bytes | None:
    reader = BodyReader(length)
    out = b""
    try:
        for piece in stream:
            out += reader.feed(piece)
    except SekishoError:
        return None
    return out
