"""From HTTPS to the channel: one request, one answer, one sealed secret.

Both ends are ours, so each head has exactly one accepted form; nothing is interpreted, and what a general
HTTP parser would have to tolerate (folding, repeated headers, two lengths) is simply refused. Judgement:
bytes in, values out.
"""

from __future__ import annotations

import base64
import re
from typing import Final

import msgspec

from sekisho.errors import CODES, Refused, RemoteProtocolError, SekishoError, Tampered
from sekisho.keys import SpiffeId
from sekisho.wire.messages import FailureFrame, error_of

__all__ = [
    "OPENING_READ_BYTES",
    "epoch_info",
    "read_answer",
    "read_request",
    "refusal_bytes",
    "request_bytes",
    "welcome_bytes",
]

MAX_HEAD_BYTES: Final = (64 << 10) + 512  # a channel token of 64 KiB and its frame; more is an attack
NONCE_BYTES: Final = 32
OPENING_READ_BYTES: Final = 4096  # at once; nearly every opening fits
_END: Final = b"\r\n\r\n"
_REQUEST: Final = re.compile(
    rb"GET /channel HTTP/1\.1\r\nHost: sekisho\r\nConnection: Upgrade\r\nUpgrade: sekisho-channel/1\r\n"
    rb"Authorization: Bearer ([A-Za-z0-9_.-]{1,65536})"
)
_WELCOME: Final = re.compile(
    rb"HTTP/1\.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: sekisho-channel/1\r\n"
    rb"Sekisho-Nonce: ([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])"  # one spelling: the last two bits of base64 are not used
)
_REFUSAL: Final = re.compile(
    rb"HTTP/1\.1 [0-9]{3} [A-Za-z ]+\r\nContent-Type: application/json\r\nContent-Length: [0-9]{1,4}\r\n"
    rb"Connection: close\r\n\r\n(.{1,4096})",
    re.DOTALL,
)


def request_bytes(token: str) -> bytes:
    """What the core sends first."""
    return (
        b"GET /channel HTTP/1.1\r\nHost: sekisho\r\nConnection: Upgrade\r\nUpgrade: sekisho-channel/1\r\n"
        b"Authorization: Bearer " + token.encode("ascii") + _END
    )


def read_request(received: bytes) -> str | None:
    """The token of a complete request, None while it is incomplete; raises `Refused`."""
    head = _whole_head(received)
    if head is None:
        return None
    match = _REQUEST.fullmatch(head)
    # the core waits for our nonce before it says more, so bytes after the head are somebody's trick
    if match is None or len(received) != len(head) + len(_END):
        raise Refused("http_malformed", "the channel is opened with exactly one form of request")
    return match[1].decode("ascii")


def welcome_bytes(nonce: bytes) -> bytes:
    """What the plugin server answers to a core it accepts."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: sekisho-channel/1\r\n"
        b"Sekisho-Nonce: " + base64.urlsafe_b64encode(nonce).rstrip(b"=") + _END
    )


def refusal_bytes(error: SekishoError) -> bytes:
    """What the plugin server answers to a core it does not accept."""
    body = msgspec.json.encode(FailureFrame(code=error.code, message=error.message[:500]))
    head = (
        f"HTTP/1.1 {CODES[error.code].http_status} Refused\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def read_answer(received: bytes) -> tuple[bytes, bytes] | None:
    """Nonce and bytes behind the head, None while incomplete; raises the error of a refusal."""
    head = _whole_head(received)
    if head is None:
        return None
    match = _WELCOME.fullmatch(head)
    if match is not None:
        return base64.urlsafe_b64decode(match[1] + b"="), received[len(head) + len(_END) :]
    refusal = _REFUSAL.fullmatch(received)
    if refusal is None:
        raise RemoteProtocolError("plugin_protocol", "the plugin server did not answer as a plugin server")
    try:
        raise error_of(msgspec.json.decode(refusal[1], type=FailureFrame))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError("plugin_protocol", "the plugin server's refusal cannot be read") from error


def epoch_info(*, core: SpiffeId, plugin: SpiffeId, nonce: bytes, core_x5t: str) -> bytes:
    """What an epoch secret is bound to: both names, this connection's nonce, the core's certificate."""
    parts = (b"sekisho-channel/1", core.uri.encode(), plugin.uri.encode(), nonce, core_x5t.encode())
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def _whole_head(received: bytes) -> bytes | None:
    end = received.find(_END)
    if end < 0:
        if len(received) > MAX_HEAD_BYTES:
            raise Refused("header_too_large", "the head of the channel's opening is too long")
        return None
    return received[:end]


def hung_up() -> Tampered:
    """The error for a connection that ends right after our handshake.

    In TLS 1.3 a client finishes its handshake before the server has judged the client's certificate, so a
    refusal only shows as an end of the stream at the first read.
    """
    return Tampered(
        "peer_untrusted",
        "the plugin server hung up right after the TLS handshake; most likely it refused our certificate",
    )
