"""The entries of the log: what is said about a call, and what never is.

Guarantees: no argument, result, token or secret enters an entry. A payload is represented by its size and by
a commitment, a digest of a salt and the payload: whoever holds the payload can show later that it is the one,
and equal payloads do not look equal. The digest is SHA-256, of a large payload BLAKE3; its member says which.
Text from outside is bounded, so that no entry outgrows its limit. An entry is the bytes of one JSON object on
one line; the journal puts its number in front. Deliberately knows no file and no clock; the instant is an
argument.

Without a `salt` argument the entry carries a fresh one: anybody who has the entry can then test a guess of
the payload. A caller who keeps a secret passes `salter(secret)(call)` instead: keyed BLAKE2b, of which
nothing can be guessed without the secret. Its owner computes the salt of one call again (`salt_for`), tells
it to whoever shall check that call's payloads, and gives nothing away about other calls. Destroying the
secret makes every commitment under it unopenable. Intent and outcome of a call share their salt: compute it
once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from hashlib import blake2b, sha256
from importlib import import_module
from typing import Any, Final

import msgspec

__all__ = [
    "RECORD_VERSION",
    "Said",
    "commitment",
    "event",
    "intent",
    "notes",
    "outcome",
    "refusal",
    "salt_for",
    "salter",
    "timestamp",
]

# What a plugin said before its answer: "ok", or why it is not passed on; how often; and its words, a line each.
Said = tuple[str, int, bytes | None]

RECORD_VERSION: Final = 1
MAX_TEXT_CHARS: Final = 512  # a stranger's words must not push a record over the 65,535 bytes of a log entry
MAX_PARTIES: Final = 1024
MAX_INSTANTS: Final = 4
_SALT_BYTES: Final = 16
_JOIN_BYTES: Final = 4096  # one joined buffer is hashed faster than two pieces, if copying it is cheap
LARGE_BYTES: Final = 64 << 10  # of a megabyte SHA-256 takes longer than reading and searching it
_PURPOSE: Final = b"sekisho-salt"  # the secret may serve another purpose one day; its outputs must differ

_HEAD: Final = f'{{"v":{RECORD_VERSION},"time":'
_THREE: Final = tuple(f"{number:03d}" for number in range(1000))  # half the price of formatting six digits
_encode: Final = msgspec.json.Encoder().encode
_sha256: Final = sha256  # see `tree`
_known_parties: Final[dict[tuple[str, str, str], str]] = {}
_known_instants: Final[dict[float, str]] = {}


def timestamp(now: float) -> str:
    """Return Unix time as RFC 3339 in UTC with microseconds."""
    known = _known_instants.get(now)  # the records of one turn of the loop share theirs
    if known is None:
        if len(_known_instants) >= MAX_INSTANTS:
            _known_instants.clear()
        known = _known_instants[now] = _timestamp(now)
    return known


def _timestamp(now: float) -> str:
    seconds, micros = divmod(round(now * 1_000_000), 1_000_000)
    return f"{_second(seconds)}{_THREE[micros // 1000]}{_THREE[micros % 1000]}Z"


@lru_cache(maxsize=8)  # many records share a second, and formatting it costs more than the rest of a record
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def salter(secret: bytes) -> Callable[[str], bytes]:
    """Return the function from a call id to its salt; `secret` has 16 to 64 bytes."""
    if len(secret) < _SALT_BYTES:
        raise ValueError("a secret shorter than 16 bytes can be guessed")
    keyed = blake2b(key=secret, digest_size=32, person=_PURPOSE)  # copied for each call: half the price

    def salt_of(call: str) -> bytes:
        state = keyed.copy()
        state.update(call.encode("utf-8", "replace"))
        return state.digest()

    return salt_of


def salt_for(secret: bytes, call: str) -> bytes:
    """Return the salt of one call, which only the owner of `secret` can compute again."""
    return salter(secret)(call)


def commitment(payload: bytes | memoryview, salt: bytes | None = None) -> str:
    """Return size and salted digest of a payload as JSON; without `salt` a fresh one is written beside it."""
    if salt is None:
        fresh = secrets.token_bytes(_SALT_BYTES)
        return f'{commitment(payload, fresh)[:-1]},"salt":"{fresh.hex()}"}}'
    size = len(payload)
    if size <= _JOIN_BYTES:
        return f'{{"sha256":"{_sha256(salt + payload).hexdigest()}","size":{size}}}'
    if size < LARGE_BYTES:
        name, state = "sha256", _sha256(salt)
    else:
        name, state = "blake3", _blake3()(salt)
    state.update(payload)
    return f'{{"{name}":"{state.hexdigest()}","size":{size}}}'


def intent(
    *,
    now: float,
    call: str,
    client: str,
    plugin: str,
    tool: str,
    arguments: bytes,
    target: str = "",
    meta: bytes = b"",
    answers: bytes = b"",
    rules: Sequence[str] = (),
    salt: bytes | None = None,
) -> bytes:
    """Return the entry that a judged call is about to leave; `rules` are the content rules its arguments met.

    `target` is the prompt or resource that a method other than a tool's call names; `meta` what the client's `_meta`
    brings to the plugin, `answers` what it says to questions of the round before. Most calls have none of them.
    """
    named = f',"target":{_text(target)}' if target else ""
    if meta:
        named += f',"meta":{commitment(meta, salt)}'
    if answers:
        named += f',"answers":{commitment(answers, salt)}'
    return (
        f'{_HEAD}"{timestamp(now)}","kind":"intent","call":{_call(call)},'
        f'{_parties(client, plugin, tool)}{named},"arguments":{commitment(arguments, salt)}{_met(rules)}}}'
    ).encode()


def outcome(
    *,
    now: float,
    call: str,
    client: str,
    plugin: str,
    tool: str,
    code: str = "ok",
    reason: str | None = None,
    result: bytes | memoryview | None = None,
    rules: Sequence[str] = (),
    said: Said | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Return the entry of how a call ended; `code` is "ok" or the code of the error the caller receives.

    `rules` are the content rules that its result met; `said` is what the plugin said of its progress together with it.
    """
    how = '"code":"ok"' if code == "ok" else f'"code":{_text(code)}'
    if reason is not None:
        how += f',"reason":{_text(reason)}'
    if result is not None:
        how += f',"result":{commitment(result, salt)}'
    if said is not None:
        how += f',"progress":{{{_said(said, salt)}}}'
    return (
        f'{_HEAD}"{timestamp(now)}","kind":"outcome","call":{_call(call)},'
        f"{_parties(client, plugin, tool)},{how}{_met(rules)}}}"
    ).encode()


def notes(
    *,
    now: float,
    call: str,
    client: str,
    plugin: str,
    tool: str,
    said: Said,
    salt: bytes | None = None,
) -> bytes:
    """Return the entry that a plugin spoke before its answer."""
    return (
        f'{_HEAD}"{timestamp(now)}","kind":"notes","call":{_call(call)},'
        f"{_parties(client, plugin, tool)},{_said(said, salt)}}}"
    ).encode()


def refusal(
    *,
    now: float,
    call: str | None,
    code: str,
    reason: str,
    client: str | None = None,
    plugin: str | None = None,
    tool: str | None = None,
) -> bytes:
    """Return the entry of a call that was turned away; what could not be read of it is left out."""
    known = "".join(
        [
            f'"{name}":{_text(value)},'
            for name, value in (("call", call), ("client", client), ("plugin", plugin), ("tool", tool))
            if value is not None
        ]
    )
    return (
        f'{_HEAD}"{timestamp(now)}","kind":"refusal",{known}"code":{_text(code)},"reason":{_text(reason)}}}'
    ).encode()


def event(*, now: float, name: str, **fields: str | int | bool | None) -> bytes:
    """Return the entry of what is not a call: a start, an approval, a restart, an egress refusal."""
    entry: dict[str, object] = {"v": RECORD_VERSION, "time": timestamp(now), "kind": "event", "name": name}
    for field, value in fields.items():
        if field in entry or field == "n":
            raise ValueError(f"the field {field!r} of a record is taken")
        if value is not None:
            entry[field] = _bounded(value) if isinstance(value, str) else value
    return _encode(entry)


@cache
def _blake3() -> Any:
    """Imported with the first large payload: most processes never see one."""
    return import_module("blake3").blake3


def _met(rules: Sequence[str]) -> str:
    """The content rules that were met, as a last member; nearly always there are none."""
    return f',"rules":{_encode(rules).decode()}' if rules else ""


def _said(said: Said, salt: bytes | None) -> str:
    code, count, words = said
    known = "" if words is None else f',"notes":{commitment(words, salt)}'
    how = '"ok"' if code == "ok" else _text(code)
    return f'"code":{how},"count":{count}{known}'


def _parties(client: str, plugin: str, tool: str) -> str:
    """Callers, plugins and tools of judged calls are few, and known to the configuration."""
    key = (client, plugin, tool)
    found = _known_parties.get(key)
    if found is None:
        if len(_known_parties) >= MAX_PARTIES:
            _known_parties.clear()
        found = f'"client":{_text(client)},"plugin":{_text(plugin)},"tool":{_text(tool)}'
        _known_parties[key] = found
    return found


def _call(call: str) -> str:
    """Our own ids need no escaping; an id of any other shape takes the long way."""
    if len(call) <= MAX_TEXT_CHARS and call.isascii() and call.isalnum():
        return f'"{call}"'
    return _text(call)


def _text(text: str) -> str:
    return _encode(_bounded(text)).decode()


def _bounded(text: str) -> str:
    if len(text) <= MAX_TEXT_CHARS and text.isascii():
        return text
    clean = text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode("utf-8")  # lone surrogates have no UTF-8
    return clean if len(text) <= MAX_TEXT_CHARS else f"{clean}…"
