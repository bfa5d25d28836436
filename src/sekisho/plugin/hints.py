"""From type hints to shapes: what an author writes in a signature is what clients are told and what is checked.

Takes `str`, `int`, `float`, `bool`, `Literal` of texts, `list[...]`, `TypedDict`, `... | None` and `Annotated` with the
bounds of `shapes`; a plain text in Annotated is the description. Whatever else stands there is refused when the plugin
is made, so a tool with an unchecked parameter never runs.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import replace
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from sekisho.plugin.shapes import (
    ChoiceShape,
    FilePath,
    FlagShape,
    ListShape,
    NumberShape,
    OptionalShape,
    Range,
    RecordShape,
    Shape,
    Size,
    Text,
    TextShape,
    WebUrl,
    WholeShape,
)

__all__ = ["HintUnknown", "described", "record_of", "shape_of"]

MAX_RESULT_CHARS: Final = 1 << 20  # of one text in a result; the whole is bounded too
_Marks = tuple[object, ...]
_T = TypeVar("_T")


class HintUnknown(TypeError):
    """The author's hint says too little, or something no shape stands for."""


def shape_of(hint: object, *, where: str, is_result: bool = False) -> Shape:
    """The shape a hint stands for; in results, texts may be long and have several lines unless bounded."""
    hint, marks = _bare(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _optional(arguments, marks, where, is_result=is_result)
    if origin is Literal:
        if not all(isinstance(one, str) for one in arguments):
            raise HintUnknown(f"{where}: Literal takes texts only")
        return ChoiceShape(arguments)
    if origin is list and arguments:
        items = shape_of(arguments[0], where=f"{where}[]", is_result=is_result)
        size = _mark(marks, Size)
        return ListShape(items=items) if size is None else ListShape(items=items, size=size)
    if is_typeddict(hint):
        return record_of(hint, where=where, is_result=is_result)
    if hint is str:
        return _text(marks, is_result=is_result)
    if hint is bool:
        return FlagShape()
    if hint is int:
        bounds = _mark(marks, Range)
        return WholeShape() if bounds is None else WholeShape(range=bounds)
    if hint is float:
        return NumberShape(range=_mark(marks, Range))
    raise HintUnknown(f"{where}: no shape stands for {hint!r}")


def record_of(hint: Any, *, where: str, is_result: bool) -> RecordShape:
    """The shape of a TypedDict."""
    hints = get_type_hints(hint, include_extras=True)
    return RecordShape(
        fields={
            name: shape_of(one, where=f"{where}.{name}", is_result=is_result) for name, one in hints.items()
        },
        required=frozenset(name for name, one in hints.items() if _is_required(one, total=hint.__total__)),
        descriptions=described(hints),
    )


def _is_required(hint: object, *, total: bool) -> bool:
    # Asked of the hint: `__required_keys__` is wrong where annotations are texts, as here.
    origin = get_origin(hint)
    return origin is Required or (total and origin is not NotRequired)


def described(hints: Mapping[str, object]) -> dict[str, str]:
    """The descriptions that stand as plain texts in Annotated."""
    found = {name: _mark(_bare(hint)[1], str) for name, hint in hints.items()}
    return {name: text for name, text in found.items() if text is not None}


def _bare(hint: object) -> tuple[object, _Marks]:
    """The hint without Annotated, Required and NotRequired, and what stood in the first."""
    marks: _Marks = ()
    while get_origin(hint) in (Annotated, Required, NotRequired):
        inner, *more = get_args(hint)
        marks, hint = (*marks, *more), inner
    return hint, marks


def _mark(marks: _Marks, kind: type[_T]) -> _T | None:
    return next((one for one in marks if isinstance(one, kind)), None)


def _optional(arguments: tuple[object, ...], marks: _Marks, where: str, *, is_result: bool) -> Shape:
    others = [one for one in arguments if one is not types.NoneType]
    if len(others) != 1 or len(others) == len(arguments):
        raise HintUnknown(f"{where}: a union is of one hint and None")
    inner = (
        Annotated[(others[0], *marks)] if marks else others[0]
    )  # bounds beside a union mean its one member
    return OptionalShape(shape_of(inner, where=where, is_result=is_result))


def _text(marks: _Marks, *, is_result: bool) -> TextShape:
    kind = _mark(marks, FilePath) or _mark(marks, WebUrl)
    bounds = _mark(marks, Text)
    if bounds is None:
        bounds = Text(max_chars=MAX_RESULT_CHARS, multiline=True) if is_result else Text()
    return TextShape(bounds=bounds if kind is None else replace(bounds, max_chars=kind.max_chars), kind=kind)
