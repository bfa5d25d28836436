"""The entries of the log: what is said about a call, and what never is.

Guarantees: no argument, result, token or secret enters a record. A payload is represented by its size and by
a commitment, SHA-256 over a salt and the payload: whoever holds the payload can show later that it is the
one, and equal payloads do not look equal. Text from outside is bounded, so that no record outgrows its limit.
Deliberately knows no file and no clock; the instant is an argument.

Without a `salt` argument the record carries a fresh one: anybody who has the record can then test a guess of
the payload. A caller who keeps a secret passes `salt_for(secret, call)` instead; then only the secret's owner
can, and destroying the secret makes every commitment under it unopenable.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final

__all__ = ["RECORD_VERSION", "commitment", "event", "intent", "outcome", "refusal", "salt_for", "timestamp"]

RECORD_VERSION: Final = 1
MAX_TEXT_CHARS: Final = 512  # a stranger's words must not push a record over the 65,535 bytes of a log entry
_SALT_BYTES: Final = 16


def timestamp(now: float) -> str:
    """Return Unix time as RFC 3339 in UTC with microseconds."""
    seconds, micros = divmod(round(now * 1_000_000), 1_000_000)
    return f"{_second(seconds)}.{micros:06d}Z"


@lru_cache(maxsize=8)  # many records share a second, and formatting it costs more than the rest of a record
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def salt_for(secret: bytes, call: str) -> bytes:
    """Return the salt of one call, which only the owner of `secret` can compute again."""
    return hmac.digest(secret, b"sekisho-audit-salt\x00" + call.encode("utf-8", "replace"), "sha256")


def commitment(payload: bytes, salt: bytes | None = None) -> dict[str, object]:
    """Return size and salted SHA-256 of a payload; without `salt` a fresh one is written beside it."""
    if salt is not None:
        return {"sha256": sha256(salt + payload).hexdigest(), "size": len(payload)}
    fresh = secrets.token_bytes(_SALT_BYTES)
    return {"sha256": sha256(fresh + payload).hexdigest(), "size": len(payload), "salt": fresh.hex()}


def intent(
    *,
    now: float,
    call: str,
    client: str,
    plugin: str,
    tool: str,
    arguments: bytes,
    salt: bytes | None = None,
) -> dict[str, object]:
    """Return the record that a judged call is about to leave."""
    return {
        "v": RECORD_VERSION,
        "time": timestamp(now),
        "kind": "intent",
        "call": _bounded(call),
        "client": _bounded(client),
        "plugin": _bounded(plugin),
        "tool": _bounded(tool),
        "arguments": commitment(arguments, salt),
    }


def outcome(
    *,
    now: float,
    call: str,
    client: str,
    plugin: str,
    tool: str,
    code: str = "ok",
    reason: str | None = None,
    result: bytes | None = None,
    salt: bytes | None = None,
) -> dict[str, object]:
    """Return the record of how a call ended; `code` is "ok" or the code of the error the caller receives."""
    entry: dict[str, object] = {
        "v": RECORD_VERSION,
        "time": timestamp(now),
        "kind": "outcome",
        "call": _bounded(call),
        "client": _bounded(client),
        "plugin": _bounded(plugin),
        "tool": _bounded(tool),
        "code": code,
    }
    if reason is not None:
        entry["reason"] = _bounded(reason)
    if result is not None:
        entry["result"] = commitment(result, salt)
    return entry


def refusal(
    *,
    now: float,
    call: str | None,
    code: str,
    reason: str,
    client: str | None = None,
    plugin: str | None = None,
    tool: str | None = None,
) -> dict[str, object]:
    """Return the record of a call that was turned away; what could not be read of it is left out."""
    entry: dict[str, object] = {"v": RECORD_VERSION, "time": timestamp(now), "kind": "refusal"}
    for name, value in (("call", call), ("client", client), ("plugin", plugin), ("tool", tool)):
        if value is not None:
            entry[name] = _bounded(value)
    entry["code"] = code
    entry["reason"] = _bounded(reason)
    return entry


def event(*, now: float, name: str, **fields: str | int | bool | None) -> dict[str, object]:
    """Return the record of what is not a call: a start, an approval, a restart, an egress refusal."""
    entry: dict[str, object] = {"v": RECORD_VERSION, "time": timestamp(now), "kind": "event", "name": name}
    for field, value in fields.items():
        if field in entry or field == "n":
            raise ValueError(f"the field {field!r} of a record is taken")
        if value is not None:
            entry[field] = _bounded(value) if isinstance(value, str) else value
    return entry


def _bounded(text: str) -> str:
    if len(text) <= MAX_TEXT_CHARS and text.isascii():
        return text
    clean = text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode("utf-8")  # lone surrogates have no UTF-8
    return clean if len(text) <= MAX_TEXT_CHARS else f"{clean}…"
