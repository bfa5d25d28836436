"""What a plugin may ask of a client, and how questions and their answers are written in the rounds of 2026-07-28.

Guarantees
- A question is passed on only if this client declared it and the operator allows it: the kind, the mode of an
  elicitation, tools in sampling; the plugin's word for it counts for nothing.
- An `input_required` is read strictly: a member named twice, or one that is no question, breaks the protocol.
- What we add to a plugin's `requestState` comes back only through the core, which seals it.

Judgement: bytes in, values and bytes out. Knows no calls.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.plugin_server.input_required import is_input_required
from sekisho.protocol import decode_distinct

__all__ = [
    "ELICITATION",
    "MAX_ASKED_BYTES",
    "ROOTS",
    "InputRequired",
    "Question",
    "State",
    "input_required_bytes",
    "is_allowed",
    "read_input_required",
    "read_state",
    "url_questions",
    "url_requests_of_error",
]

ELICITATION: Final = "elicitation/create"
SAMPLING: Final = "sampling/createMessage"
ROOTS: Final = "roots/list"
MAX_QUESTIONS: Final = 16  # of one round; more is a flood, not a form
MAX_ASKED_BYTES: Final = 1 << 20  # a question is for a person or a model, and is held until it is answered
MAX_STATE_BYTES: Final = 256 << 10  # it travels to the client and back

_encode: Final = msgspec.json.Encoder().encode


class Question(msgspec.Struct, frozen=True, gc=False):
    """One request of the plugin to the client; `params` is an object in our own spelling."""

    method: str
    params: bytes = b"{}"


class InputRequired(msgspec.Struct, frozen=True):
    """A plugin's answer that is a question: what it asks, by its own keys, and what it wants back with the answers."""

    questions: dict[str, Question]
    state: str | None


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What comes back with the answers of a round: the plugin's state, and the keys that are answered with roots.

    `roots` are answered by us alone; `narrowed` by the client, within ours.
    """

    state: str | None = None
    roots: list[str] = []
    narrowed: list[str] = []


class _Input(msgspec.Struct):
    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")


class _Result(msgspec.Struct, rename="camel"):
    result_type: str = "complete"
    input_requests: dict[str, _Input] = {}
    request_state: str | None = None


class _Elicitation(msgspec.Struct, rename="camel"):
    message: str
    url: str
    elicitation_id: str | None = None


class _Elicitations(msgspec.Struct):
    elicitations: list[_Elicitation] = []


class _UrlRequired(msgspec.Struct):
    data: _Elicitations = msgspec.field(default_factory=_Elicitations)


def is_allowed(question: Question, may_ask: Collection[str]) -> bool:
    """May this be asked of a client that can be asked for so much?"""
    if question.method == ELICITATION:
        mode = _member(question.params, "mode")
        return (mode in (None, "form") and "elicitation" in may_ask) or (
            mode == "url" and "elicitation/url" in may_ask
        )
    if question.method == ROOTS:
        return "roots" in may_ask
    if question.method != SAMPLING or "sampling" not in may_ask:
        return False
    wants_tools = (
        _member(question.params, "tools") is not None or _member(question.params, "toolChoice") is not None
    )
    return not wants_tools or "sampling/tools" in may_ask


def read_input_required(result: bytes) -> InputRequired | None:
    """The question in a modern plugin's result, or None if it is a result. Raises `RemoteProtocolError`."""
    if not is_input_required(result):
        return None
    try:
        if msgspec.json.decode(result, type=_Result).result_type != "input_required":
            return None
        read = msgspec.json.decode(decode_distinct(result)[1], type=_Result)
        questions = {
            key: Question(one.method, decode_distinct(bytes(one.params))[1])
            for key, one in read.input_requests.items()
        }
    except (msgspec.MsgspecError, SekishoError, UnicodeError, RecursionError) as error:
        raise _broken("a question that cannot be read") from error
    if len(questions) > MAX_QUESTIONS or len(result) > MAX_ASKED_BYTES:
        raise _broken("too much at once")
    if len(read.request_state or "") > MAX_STATE_BYTES:
        raise _broken("more state back than may travel")
    if any(not question.params.startswith(b"{") for question in questions.values()):
        raise _broken("a question without parameters")
    return InputRequired(questions, read.request_state)


def input_required_bytes(questions: Mapping[str, Question], request_state: str | None) -> bytes:
    """The result that asks this of a client."""
    result: dict[str, object] = {"resultType": "input_required"}
    if questions:
        result["inputRequests"] = {
            key: {"method": question.method, "params": msgspec.Raw(question.params)}
            for key, question in questions.items()
        }
    if request_state is not None:
        result["requestState"] = request_state
    return _encode(result)


def read_state(text: str) -> State | None:
    """What we gave with a round of a modern plugin; None if it was not us."""
    try:
        return msgspec.json.decode(text, type=State)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def url_requests_of_error(error: bytes) -> list[tuple[str, str, str | None]]:
    """Message, URL and id of each elicitation that a -32042 wants answered first; empty if it says none."""
    try:
        read = msgspec.json.decode(error, type=_UrlRequired)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    return [(one.message, one.url, one.elicitation_id) for one in read.data.elicitations[:MAX_QUESTIONS]]


def url_questions(wanted: Collection[tuple[str, str, str | None]]) -> dict[str, Question]:
    """These elicitations as questions of a round."""
    return {
        f"url-{number}": Question(ELICITATION, _encode({"mode": "url", "message": message, "url": url}))
        for number, (message, url, _) in enumerate(wanted, 1)
    }


def _member(params: bytes, name: str) -> object:
    members = msgspec.json.decode(params)
    return members.get(name) if isinstance(members, dict) else None


def _broken(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", f"the plugin asks {what}")
