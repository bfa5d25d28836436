"""State that travels through a client: sealed, dated, bound to one purpose.

Guarantees that a ticket opens only with our key, for the purpose it was sealed for, within its age, in its
one spelling. AES-256-GCM-SIV, because many processes seal under one key with random nonces and a repeated
nonce must not cost the key. Time is an argument; a ticket can be replayed while it is young, so callers put
what it is bound to (principal, plugin) in the payload and compare.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from sekisho.errors import Refused

__all__ = ["Ticket", "open_ticket", "seal_ticket"]

MAX_TICKET_CHARS: Final = 8192  # a ticket travels in one header; longer ones are refused before any work
CLOCK_SKEW_S: Final = 5.0  # replicas' clocks differ
_NONCE_BYTES: Final = 12


class Ticket(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a ticket says. It travels in a header, so it is kept short: values without names."""

    issued_at: float
    payload: dict[str, Any]


def seal_ticket(key: bytes, purpose: str, payload: dict[str, Any], now: float) -> str:
    """Seal `payload` (JSON values) into url-safe text."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    plaintext = msgspec.json.encode(Ticket(issued_at=now, payload=payload))
    sealed = nonce + AESGCMSIV(key).encrypt(nonce, plaintext, purpose.encode())
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def open_ticket(
    key: bytes, purpose: str, text: str, now: float, max_age_s: float, *, max_chars: int = MAX_TICKET_CHARS
) -> Ticket:
    """A ticket sealed for `purpose` at most `max_age_s` ago; raises `Refused`.

    Args:
        max_chars: of the ticket; those that travel in a body may be longer than a header.
    """
    sealed = _decode(text, max_chars)
    try:
        plaintext = AESGCMSIV(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())
        ticket = msgspec.json.decode(plaintext, type=Ticket)
    except (InvalidTag, ValueError) as error:
        raise _unknown() from error
    if not -CLOCK_SKEW_S <= now - ticket.issued_at <= max_age_s:
        raise Refused("session_unknown", "the ticket is too old")
    return ticket


def _decode(text: str, max_chars: int) -> bytes:
    if not text or len(text) > max_chars or not text.isascii():
        raise _unknown()
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unknown() from error
    # base64 spells the same bytes in several ways; only ours is a ticket, so that equal means equal text
    if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
        raise _unknown()
    return sealed


def _unknown() -> Refused:
    return Refused("session_unknown", "this is no ticket of ours")
