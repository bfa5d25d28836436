"""What a plugin asks of a client in the midst of a call, and what the client answers: judged in both directions.

Guarantees
- a question is one of the three that MCP knows, was declared by this client *and* allowed by the operator, and goes on in
  members that were read; a form is flat, a web address is https, a text is short;
- an answer has the form of its kind and no further member;
- the state of a round travels through the client sealed: bound to client, endpoint, plugin, operation, what it names, its
  arguments, and the kinds of the questions; it opens for nobody else, for no other call, and not for long.

Scanning what is said is the caller's business (`returns`, `door`). Judgement; a nonce is drawn when a state is sealed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from sekisho.errors import Refused, RemoteProtocolError, SekishoError
from sekisho.gateway.forms import read_form
from sekisho.keys import open_ticket, seal_ticket
from sekisho.protocol import JsonObject, JsonValue

__all__ = [
    "GATEWAY",
    "Round",
    "kind_of",
    "open_round",
    "question_id",
    "read_answer",
    "read_answers",
    "read_question",
    "read_question_id",
    "seal_round",
]

MAX_AGE_S: Final = 600.0  # a person has to be found; the plugin's side gives up then too
MAX_MESSAGE_CHARS: Final = 8192
MAX_URL_CHARS: Final = 2048
MAX_SEALED_CHARS: Final = 128 << 10  # it travels in bodies, there and back
MAX_QUESTIONS: Final = 16  # of one round

GATEWAY: Final = "-"  # asks for itself; no plugin can have this name

_METHODS: Final = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
# What is sampled from other servers is none of a plugin's business, so `includeContext` is not among them.
_SAMPLING: Final = frozenset(
    {
        "maxTokens",
        "messages",
        "metadata",
        "modelPreferences",
        "stopSequences",
        "systemPrompt",
        "temperature",
        "toolChoice",
        "tools",
    }
)
# A person is asked to trust the host they see, so no reader may find another: no name before an @, no escapes, no
# backslash that browsers take for a slash, no character that draws as another. An international name is its A-label.
_LINK: Final = re.compile(
    r"https://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    r"(?:[/?#][A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*)?"
)
_ID: Final = re.compile(
    r"([a-z0-9-]{1,32}):(elicitation|elicitation/url|sampling|roots):([A-Za-z0-9_-]{1,64})"
)
_PURPOSE: Final = "round"


class Round(msgspec.Struct, frozen=True, gc=False):
    """One round of a call: `state` is the plugin's side's own, `kinds` says what each question was.

    `is_approved` is set once a person said yes to this call, so that its later rounds need not ask again. `run` is that
    of the house which would know if that was used before.
    """

    client: str
    endpoint: str
    operation: str
    state: str | None
    kinds: dict[str, str]
    is_approved: bool = False
    run: str = ""


def kind_of(method: str, params: Mapping[str, JsonValue]) -> str:
    """What a client must have declared to be asked this; raises `RemoteProtocolError` for what MCP does not know."""
    kind = _METHODS.get(method)
    if kind is None:
        raise _odd("something that MCP does not know")
    if kind == "elicitation" and params.get("mode") == "url":
        return "elicitation/url"
    return kind


def read_question(method: str, params: JsonObject, may_ask: frozenset[str]) -> tuple[str, JsonObject]:
    """Kind and parameters of a question that may be asked.

    Raises:
        Refused: `capability_missing`, the client did not declare it or the operator does not allow it.
        RemoteProtocolError: `plugin_protocol`.
    """
    kind = kind_of(method, params)
    if kind not in may_ask:
        raise Refused("capability_missing", f"the plugin needs {kind}, which this client cannot be asked")
    match kind:
        case "elicitation":
            return kind, _form(params)
        case "elicitation/url":
            return kind, _link(params)
        case "sampling":
            return kind, _sampling(params, may_ask)
    return kind, {}


def read_answer(kind: str, result: JsonObject) -> JsonObject:
    """What a client answered, member by member; raises `RemoteProtocolError` (`params_invalid`)."""
    match kind:
        case "elicitation" | "elicitation/url":
            return _elicited(result)
        case "sampling":
            role, content, model = result.get("role"), result.get("content"), result.get("model")
            if role not in ("user", "assistant") or not isinstance(content, dict | list):
                raise _bad_answer("a message has a role and content")
            read: JsonObject = {
                "role": role,
                "content": content,
                "model": model if isinstance(model, str) else "",
            }
            if isinstance(result.get("stopReason"), str):
                read["stopReason"] = result["stopReason"]
            return read
    roots = result.get("roots")
    if not isinstance(roots, list) or not all(isinstance(one, dict) for one in roots):
        raise _bad_answer("roots is a list")
    return {"roots": roots}


def read_answers(responses: JsonValue, kinds: Mapping[str, str] | None) -> JsonObject:
    """The `inputResponses` of a further round; `kinds` is None when the client shows no state of ours.

    An answer to a question that was not asked is dropped, as MCP 2026-07-28 says.
    """
    if not isinstance(responses, dict) or len(responses) > MAX_QUESTIONS:
        raise _bad_answer(f"inputResponses is an object of at most {MAX_QUESTIONS} answers")
    read: JsonObject = {}
    for key, value in responses.items():
        if not isinstance(value, dict):
            raise _bad_answer("an input response is an object")
        kind = _kind_by_form(value) if kinds is None else kinds.get(key)
        if kind is not None:
            read[key] = read_answer(kind, value)
    return read


def question_id(plugin: str, kind: str, ask: str) -> str:
    """The id of a request to a legacy client; any process can find its way back by it."""
    return f"{plugin}:{kind}:{ask}"


def read_question_id(ident: int | str | None) -> tuple[str, str, str] | None:
    """Plugin, kind and question, if the id is one of `question_id`."""
    found = _ID.fullmatch(ident) if isinstance(ident, str) else None
    return None if found is None else (found[1], found[2], found[3])


def seal_round(key: bytes, one: Round, now: float) -> str:
    """The state as the client carries it."""
    sealed = seal_ticket(key, _PURPOSE, msgspec.to_builtins(one), now)
    if len(sealed) > MAX_SEALED_CHARS:
        raise RemoteProtocolError(
            "plugin_protocol", f"the plugin's state exceeds {MAX_SEALED_CHARS} characters when sealed"
        )
    return sealed


def open_round(key: bytes, text: str, *, client: str, endpoint: str, operation: str, now: float) -> Round:
    """The round that was sealed for this client, endpoint and operation; raises `RemoteProtocolError`."""
    try:
        payload = open_ticket(key, _PURPOSE, text, now, MAX_AGE_S, max_chars=MAX_SEALED_CHARS).payload
        one = msgspec.convert(payload, Round)
    except (SekishoError, msgspec.ValidationError) as error:
        raise _bad_state() from error
    if (one.client, one.endpoint, one.operation) != (client, endpoint, operation):
        raise _bad_state()
    return one


def _form(params: JsonObject) -> JsonObject:
    schema = read_form(params.get("requestedSchema"))
    return {**_mode(params), "message": _message(params), "requestedSchema": schema}


def _link(params: JsonObject) -> JsonObject:
    url, ident = params.get("url"), params.get("elicitationId")
    if not isinstance(url, str) or len(url) > MAX_URL_CHARS or _LINK.fullmatch(url) is None:
        raise _odd("a person to open an address that is not plain https")
    read: JsonObject = {"mode": "url", "message": _message(params), "url": url}
    if isinstance(ident, str) and len(ident) <= 256:
        read["elicitationId"] = ident
    return read


def _sampling(params: JsonObject, may_ask: frozenset[str]) -> JsonObject:
    if not isinstance(params.get("messages"), list):
        raise _odd("for a message without messages")
    if "sampling/tools" not in may_ask and ("tools" in params or "toolChoice" in params):
        raise Refused(
            "capability_missing", "the plugin needs sampling with tools, which this client cannot do"
        )
    return {name: value for name, value in params.items() if name in _SAMPLING}


def _elicited(result: JsonObject) -> JsonObject:
    action, content = result.get("action"), result.get("content")
    if action not in ("accept", "decline", "cancel"):
        raise _bad_answer("action is accept, decline or cancel")
    if content is None:
        return {"action": action}
    if not isinstance(content, dict) or any(isinstance(value, dict) for value in content.values()):
        raise _bad_answer("content is flat")
    return {"action": action, "content": content}


def _kind_by_form(value: JsonObject) -> str:
    if "action" in value:
        return "elicitation"
    return "roots" if "roots" in value else "sampling"


def _mode(params: JsonObject) -> JsonObject:
    return {"mode": "form"} if params.get("mode") == "form" else {}


def _message(params: JsonObject) -> str:
    message = params.get("message")
    if not isinstance(message, str) or len(message) > MAX_MESSAGE_CHARS:
        raise _odd(f"without a message of at most {MAX_MESSAGE_CHARS} characters")
    return message


def _odd(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", f"the plugin asks {what}")


def _bad_answer(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("params_invalid", what)


def _bad_state() -> RemoteProtocolError:
    return RemoteProtocolError(
        "params_invalid", "this requestState was not given for this request, or it is too old"
    )
