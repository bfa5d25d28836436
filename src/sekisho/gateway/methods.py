"""The methods that a plugin has to be asked about: what their parameters and results must be, each in one place.

Guarantees that what is forwarded was read member by member and is written again (members that a method does not know
are dropped), and that a result has the one member without which it is no result of its method. Knows no plugin: whether
a prompt or resource exists is asked where definitions are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from sekisho.errors import RemoteProtocolError
from sekisho.gateway.caller import LOG_LEVELS
from sekisho.protocol import JsonObject, JsonValue
from sekisho.protocol.client_messages import refuse_variants

__all__ = ["METHODS", "Method", "Wanted", "params_of", "read_wanted", "refuse_near_names"]

MAX_NAME_CHARS: Final = 2048  # of a prompt or a URI, as in `registry.surface`
MAX_COMPLETION_CHARS: Final = 4096

Kind = Literal["prompt", "resource", "template", "any"]


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """What one request names, and its parameters as they go on, without the name and `_meta`."""

    kind: Kind
    name: str
    params: JsonObject


class Method(msgspec.Struct, frozen=True):
    """One method: how its parameters are read, and which member its result must have."""

    read: Callable[[JsonObject], Wanted]
    member: str | None
    holds: type
    can_ask: bool = False


def read_wanted(method: str, params: JsonObject) -> Wanted:
    """Read the parameters of a method of `METHODS`; raises `RemoteProtocolError` (`params_invalid`)."""
    return METHODS[method].read(params)


def params_of(method: str, wanted: Wanted, name: str) -> JsonObject:
    """The parameters to send, with the name that the plugin itself uses."""
    if method == "prompts/get":
        return {"name": name, **wanted.params}
    if method != "completion/complete":
        return {"uri": name}
    ref: JsonObject = (
        {"type": "ref/prompt", "name": name}
        if wanted.kind == "prompt"
        else {"type": "ref/resource", "uri": name}
    )
    return {"ref": ref, **wanted.params}


def _text(params: Mapping[str, JsonValue], name: str, most: int = MAX_NAME_CHARS) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise _invalid(f"{name} is a text of 1 to {most} characters")
    return value


def _prompt(params: JsonObject) -> Wanted:
    name = _text(params, "name")
    arguments = params.get("arguments", {})
    if not isinstance(arguments, dict) or not all(isinstance(one, str) for one in arguments.values()):
        raise _invalid("the arguments of a prompt are texts")
    return Wanted("prompt", name, {"arguments": arguments} if arguments else {})


def _resource(params: JsonObject) -> Wanted:
    return Wanted("resource", _text(params, "uri"), {})


def _completion(params: JsonObject) -> Wanted:
    ref, argument, context = params.get("ref"), params.get("argument"), params.get("context")
    if not isinstance(ref, dict) or not isinstance(argument, dict):
        raise _invalid("completion/complete needs ref and argument")
    if not isinstance(argument.get("value"), str) or len(str(argument["value"])) > MAX_COMPLETION_CHARS:
        raise _invalid(f"argument.value is a text of at most {MAX_COMPLETION_CHARS} characters")
    read: JsonObject = {"argument": {"name": _text(argument, "name"), "value": argument["value"]}}
    if context is not None:
        values = context.get("arguments", {}) if isinstance(context, dict) else None
        if not isinstance(values, dict) or not all(isinstance(one, str) for one in values.values()):
            raise _invalid("context.arguments are texts")
        read["context"] = {"arguments": values}
    match ref.get("type"):
        case "ref/prompt":
            return Wanted("prompt", _text(ref, "name"), read)
        case "ref/resource":
            return Wanted("template", _text(ref, "uri"), read)
    raise _invalid("ref.type is ref/prompt or ref/resource")


def _level(params: JsonObject) -> Wanted:
    level = params.get("level")
    if not isinstance(level, str) or level not in LOG_LEVELS:
        raise _invalid("level is one of " + ", ".join(LOG_LEVELS))
    return Wanted("any", level, {"level": level})


METHODS: Final[Mapping[str, Method]] = {
    "prompts/get": Method(_prompt, "messages", list, can_ask=True),
    "resources/read": Method(_resource, "contents", list, can_ask=True),
    "resources/subscribe": Method(_resource, None, dict),
    "resources/unsubscribe": Method(_resource, None, dict),
    "completion/complete": Method(_completion, "completion", dict),
    "logging/setLevel": Method(_level, None, dict),
}

_KNOWN: Final = frozenset({"name", "uri", "arguments", "ref", "argument", "context", "level", "cursor"})


def refuse_near_names(params: JsonObject) -> None:
    """Refuse members that another reader could take for one we know."""
    if not params.keys() <= _KNOWN:
        refuse_variants(params, _KNOWN)


def _invalid(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("params_invalid", what)
