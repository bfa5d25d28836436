"""Roots within tasks: what `dialogue` guarantees of the rounds of a call, for the questions that a task asks.

Guarantees that a plugin which asks for roots in a task is answered with ours, and where the operator lets it ask the
client, with what remains of ours when the client answered. Judgement: bytes in, values out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from sekisho.plugin_server.asking import ROOTS
from sekisho.plugin_server.roots import Root, narrowed_roots

__all__ = ["narrowed_update", "roots_asked"]

_MARK: Final = ROOTS.encode()
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Request(msgspec.Struct):
    method: str


class _State(msgspec.Struct, rename="camel"):
    input_requests: dict[str, _Request] = {}


class _Said(msgspec.Struct):
    roots: msgspec.Raw = msgspec.Raw()


def roots_asked(state: bytes) -> list[str]:
    """The keys under which a task asks for roots; what cannot be read asks nothing, and is judged by the core."""
    if _MARK not in state:
        return []
    try:
        requests = msgspec.json.decode(state, type=_State).input_requests
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    return [key for key, request in requests.items() if request.method == ROOTS]


def narrowed_update(roots: Sequence[Root], params: Mapping[str, msgspec.Raw]) -> dict[str, object]:
    """The parameters of an update; every answer that names roots names no more than ours."""
    told: dict[str, object] = dict(params)
    try:
        answers = _members.decode(bytes(params.get("inputResponses", b"{}")))
        named = {key: answer for key, answer in answers.items() if _names_roots(answer)}
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        answers, named = {}, {}
    narrowed = {key: msgspec.Raw(narrowed_roots(roots, bytes(answer))) for key, answer in named.items()}
    told["inputResponses"] = {**answers, **narrowed}
    return told


def _names_roots(answer: msgspec.Raw) -> bool:
    return bool(msgspec.json.decode(answer, type=_Said).roots)
