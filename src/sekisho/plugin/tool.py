"""A tool: a method, what it takes, what it gives and what it says of itself, read once from its signature.

Guarantees that the schema clients see and the check that runs are the same (`shapes`), that a tool without a word about
itself or with a parameter nobody can check is refused when the plugin is made, and that parameters arrive as keywords
with the names they were published under. Starts nothing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_type_hints, is_typeddict, overload

from sekisho.plugin.call import Call
from sekisho.plugin.hints import HintUnknown, described, record_of, shape_of
from sekisho.plugin.shapes import RecordShape

__all__ = ["DIALECT", "Tool", "Traits", "declared", "tool"]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_MARK: Final = "__sekisho_tool__"
_Method = TypeVar("_Method", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a tool says of its effect; the defaults are the worst, as MCP has them."""

    title: str | None = None
    read_only: bool = False
    destructive: bool = True
    idempotent: bool = False
    open_world: bool = True

    def annotations(self) -> dict[str, object]:
        """As MCP writes them."""
        return {
            "readOnlyHint": self.read_only,
            "destructiveHint": self.destructive and not self.read_only,
            "idempotentHint": self.idempotent or self.read_only,
            "openWorldHint": self.open_world,
        }


@overload
def tool(method: _Method, /) -> _Method: ...


@overload
def tool(
    *,
    title: str | None = None,
    read_only: bool = False,
    destructive: bool = True,
    idempotent: bool = False,
    open_world: bool = True,
) -> Callable[[_Method], _Method]: ...


def tool(
    method: _Method | None = None,
    /,
    *,
    title: str | None = None,
    read_only: bool = False,
    destructive: bool = True,
    idempotent: bool = False,
    open_world: bool = True,
) -> _Method | Callable[[_Method], _Method]:
    """Make a method of a plugin a tool; its docstring is the description. Works with and without parentheses."""
    traits = Traits(
        title=title,
        read_only=read_only,
        destructive=destructive,
        idempotent=idempotent,
        open_world=open_world,
    )

    def mark(method: _Method) -> _Method:
        setattr(method, _MARK, traits)
        return method

    return mark if method is None else mark(method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool of one plugin."""

    name: str
    description: str
    traits: Traits
    takes: RecordShape
    gives: RecordShape | None
    call_parameter: str | None
    is_async: bool
    run: Callable[..., Any]

    def definition(self, *, knows_output: bool = True, knows_annotations: bool = True) -> dict[str, object]:
        """As `tools/list` has it; older revisions know less."""
        made: dict[str, object] = {"name": self.name, "description": self.description}
        if self.traits.title is not None and knows_output:
            made["title"] = self.traits.title
        made["inputSchema"] = {"$schema": DIALECT, **self.takes.schema()}
        if self.gives is not None and knows_output:
            made["outputSchema"] = {"$schema": DIALECT, **self.gives.schema()}
        if knows_annotations:
            made["annotations"] = self.traits.annotations()
        return made

    def bound(self, parameters: Mapping[str, object], call: Call) -> Callable[[], Any]:
        """The tool with its parameters, checked, ready to run. Raises `InvalidParameters`."""
        given = self.takes.read(parameters, "the parameters")
        if self.call_parameter is not None:
            given[self.call_parameter] = call
        return lambda: self.run(**given)


def declared(plugin: object) -> dict[str, Tool]:
    """All tools of a plugin, by name in the order they are written; raises `HintUnknown` for one that says too little."""
    found: dict[str, Tool] = {}
    for kind in reversed(type(plugin).__mro__):
        for name, member in vars(kind).items():
            traits = getattr(member, _MARK, None)
            if isinstance(traits, Traits):
                found[name] = _read(name, getattr(plugin, name), traits)
    return found


def _read(name: str, method: Callable[..., Any], traits: Traits) -> Tool:
    if not _NAME.fullmatch(name):
        raise HintUnknown(f"{name}: not a name for a tool")
    description = inspect.getdoc(method)
    if not description:
        raise HintUnknown(f"{name}: a tool without a docstring tells a model nothing")
    hints = get_type_hints(method, include_extras=True)
    gives = hints.pop("return", None)
    signature = inspect.signature(method)
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise HintUnknown(f"{name}: parameters come by name, so *{parameter.name} cannot be filled")
        if parameter.name not in hints:
            raise HintUnknown(f"{name}: the parameter {parameter.name} has no type")
    call_parameter = next((one for one, hint in hints.items() if hint is Call), None)
    public = {one: hint for one, hint in hints.items() if hint is not Call}
    return Tool(
        name=name,
        description=description,
        traits=traits,
        takes=RecordShape(
            fields={one: shape_of(hint, where=f"{name}.{one}") for one, hint in public.items()},
            required=frozenset(one for one in public if _is_needed(signature, one)),
            descriptions=described(public),
        ),
        gives=_given(name, gives),
        call_parameter=call_parameter,
        is_async=inspect.iscoroutinefunction(method),
        run=method,
    )


def _is_needed(signature: inspect.Signature, name: str) -> bool:
    return signature.parameters[name].default is inspect.Parameter.empty


def _given(name: str, hint: object) -> RecordShape | None:
    if hint is str:
        return None
    if not is_typeddict(hint):
        raise HintUnknown(f"{name}: a tool gives str or a TypedDict")
    return record_of(hint, where=f"{name} result", is_result=True)
