"""HTTP/1.1 in both directions: the pieces in which bytes arrive change nothing, and other readers agree.

The first two bytes of an input choose the pieces; the rest is the stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
import httptools

from fuzz.values import hold, pieces
from sekisho.errors import SekishoError
from sekisho.protocol import (
    BodyChunk,
    HttpLimits,
    HttpRequest,
    RequestReader,
    ResponseEnd,
    ResponseHead,
    ResponseReader,
    SseReader,
    WholeAnswers,
    collect,
)

__all__ = ["Heard", "by_h11", "read_requests", "request_stream", "response_stream", "same_for_others"]

LIMITS = HttpLimits(max_head_bytes=4096, max_body_bytes=4096)
_SEED_BYTES = 2
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})  # by llhttp too


@dataclass(slots=True)
class Heard:
    """The requests of one connection, and the code it ended with, if any."""

    requests: list[HttpRequest] = field(default_factory=list)
    code: str | None = None


def read_requests(reader: RequestReader, stream: list[bytes]) -> Heard:
    """Feed the pieces until the end or the refusal."""
    heard = Heard()
    try:
        for piece in stream:
            heard.requests += reader.feed(piece)
    except SekishoError as error:
        heard.code = error.code
    if reader.problem is not None:
        heard.code = reader.problem.code
    return heard


def request_stream(data: bytes) -> None:
    """Requests are the same in any pieces, and h11 and llhttp read what we accept as we do."""
    stream = data[_SEED_BYTES:]
    seed = int.from_bytes(data[:_SEED_BYTES])
    cut = read_requests(RequestReader(LIMITS), list(pieces(stream, seed)))
    whole = read_requests(RequestReader(LIMITS), [stream])
    hold(cut.code == whole.code, f"refused in pieces: {cut.code}, whole: {whole.code}")
    hold(cut.requests == whole.requests, "other requests in other pieces")
    same_for_others(stream, cut.requests)


def same_for_others(stream: bytes, requests: list[HttpRequest]) -> None:
    """Every accepted request is read alike by h11 and by llhttp alone."""
    if not requests:
        return
    shown = [_shown(one) for one in requests]
    for name, others in (("h11", by_h11(stream)), ("llhttp", _by_llhttp(stream))):
        common = others[: len(shown)]  # they may go on where we refuse
        hold(common == shown[: len(common)], f"{name} reads {common!r}, we read {shown!r}")
        hold(len(common) == len(shown) or _may_stop(requests, len(common)), f"{name} refuses what we accept")


_Shown = tuple[str, str, dict[str, str], bytes]


def _shown(one: HttpRequest) -> _Shown:
    return one.method, one.target, _plain(dict(one.headers)), bytes(one.body)


def _plain(headers: dict[str, str]) -> dict[str, str]:
    """h11 writes the names of codings small, which is the same coding."""
    coding = headers.get("transfer-encoding")
    return headers if coding is None else headers | {"transfer-encoding": coding.lower()}


def _may_stop(requests: list[HttpRequest], count: int) -> bool:
    """Others may stop at an upgrade they would take, a method they do not know, and where they would hang up."""
    if "upgrade" in requests[count].headers or requests[count].method not in _KNOWN_METHODS:
        return True
    last = requests[count - 1] if count else None
    return last is not None and (
        not last.keep_alive or "keep-alive" in last.headers.get("connection", "").lower()
    )


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return _plain(found)


def by_h11(stream: bytes) -> list[_Shown]:
    """Method, target, headers and body of each request h11 finds."""
    found: list[_Shown] = []
    while stream := stream.lstrip(b"\r\n"):
        stream = _h11_until_blank(stream, found)
    return found


def _h11_until_blank(stream: bytes, found: list[_Shown]) -> bytes:
    """Read on until line ends before a request, which RFC 9112 section 2.2 lets llhttp skip and h11 does not."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    head: h11.Request | None = None
    body = b""
    try:
        connection.receive_data(stream)
        while True:
            rest = connection.trailing_data[0]
            if head is None and rest[:1] in (b"\r", b"\n"):
                return rest
            event = connection.next_event()
            match event:
                case h11.Request():
                    head, body = event, b""
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    assert head is not None
                    found.append(_h11_shown(head, body))
                    head = None
                    connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                    connection.send(h11.EndOfMessage())
                    connection.start_next_cycle()
                case _:
                    return b""
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        return b""  # refused, or the connection was to be closed


def _h11_shown(head: h11.Request, body: bytes) -> _Shown:
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
    return head.method.decode(), head.target.decode("latin-1"), _joined(pairs), body


class _Llhttp:
    """llhttp with nothing of ours around it."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.found: list[_Shown] = []
        self.on_message_begin()

    def on_message_begin(self) -> None:
        self.url = b""
        self.pairs: list[tuple[str, str]] = []
        self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self.pairs.append((name.decode("latin-1").lower(), (value or b"").decode("latin-1").strip(" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        method = self.parser.get_method().decode()
        self.found.append((method, self.url.decode("latin-1"), _joined(self.pairs), self.body))


def _by_llhttp(stream: bytes) -> list[_Shown]:
    reader = _Llhttp()
    try:
        reader.parser.feed_data(stream)
    except httptools.HttpParserUpgrade:
        return reader.found[:-1]  # it would hand the body of the last one to another protocol
    except httptools.HttpParserError:
        return reader.found
    return reader.found


def response_stream(data: bytes) -> None:
    """Responses are the same in any pieces, and h11, if it takes the first one, reads it as we do."""
    stream = data[_SEED_BYTES:]
    cut = _read_responses(list(pieces(stream, int.from_bytes(data[:_SEED_BYTES]))))
    whole = _read_responses([stream])
    hold((cut[1] is None) == (whole[1] is None), f"accepted in pieces: {cut[1]}, whole: {whole[1]}")
    if whole[1] is None:
        hold(cut[0] == whole[0], "other responses in other pieces")
    _h11_agrees(stream, cut[0])
    _known_heads_agree(stream)


_Told = list[tuple[int, dict[str, str], bytes, bool]]


def _read_responses(stream: list[bytes]) -> tuple[_Told, str | None]:
    """Status, headers, body and completeness of each response."""
    reader = ResponseReader(LIMITS)
    told: _Told = []
    code = None
    try:
        for piece in stream:
            for event in reader.feed(piece):
                match event:
                    case ResponseHead():
                        told.append((event.status, dict(event.headers), b"", False))
                    case BodyChunk():
                        status, headers, body, _ = told[-1]
                        told[-1] = (status, headers, body + event.data, False)
                    case ResponseEnd():
                        told[-1] = (*told[-1][:3], True)
    except SekishoError as error:
        code = error.code
    return told, code


def _known_heads_agree(stream: bytes) -> None:
    """An answer taken by the bytes of its head is the answer the reader finds, and nothing longer or shorter."""
    answers = WholeAnswers()
    try:
        events = ResponseReader(LIMITS).feed(stream)
    except SekishoError:
        return
    answers.learn(stream, events)
    whole = answers.messages_of(stream)
    if whole is not None:
        found = SseReader().feed(collect(events).body)
        hold(found == whole[1], "a known head gives other messages")
        hold(answers.messages_of(stream[:-1]) is None, "a known head does not wait for its whole stream")
    body = answers.body_of(stream)
    if body is None:
        return
    hold(collect(events).body == body, "a known head gives another body")
    hold(answers.body_of(stream + b"x") is None, "a known head takes what follows its body")
    hold(answers.body_of(stream[:-1]) is None, "a known head does not wait for its whole body")


def _h11_agrees(stream: bytes, told: _Told) -> None:
    whole = [one for one in told if one[3]]
    if not whole or whole[0][0] == 101:
        return
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    body = b""
    head: h11.Response | None = None
    try:
        connection.receive_data(stream)
        while True:
            event = connection.next_event()
            match event:
                case h11.InformationalResponse():
                    continue
                case h11.Response():
                    head = event
                case h11.Data():
                    body += bytes(event.data)
                case _:
                    break
    except h11.RemoteProtocolError:
        return  # it may be stricter (we never look at a reason phrase), but not read another body
    if head is None:
        return
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
    hold(
        (head.status_code, _joined(pairs), body) == (whole[0][0], _plain(whole[0][1]), whole[0][2]),
        f"h11 reads {head!r} {body!r}, we {whole[0]!r}",
    )
