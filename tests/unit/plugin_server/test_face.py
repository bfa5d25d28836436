from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Refused, SekishoError
from sekisho.plugin_server.face import Face, face_of
from sekisho.wire import SurfaceFrame

TOOL = {"name": "echo", "description": "Gives back.", "inputSchema": {"type": "object"}}
WORDS = st.text(max_size=8)
TOOLS = st.lists(
    st.dictionaries(WORDS, st.none() | st.booleans() | st.integers(-9, 9) | WORDS, max_size=4), max_size=4
)


def _frame(*tools: Any, **changes: Any) -> SurfaceFrame:
    members: dict[str, Any] = {"server_info": _raw({"name": "x"}), "capabilities": _raw({"tools": {}})}
    return SurfaceFrame(**(members | {"tools": [_raw(one) for one in tools]} | changes))


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


@given(TOOLS, st.randoms())
def test_order_and_spelling_do_not_count(tools: list[Any], chance: random.Random) -> None:
    shuffled = [dict(sorted(one.items(), reverse=True)) for one in tools]
    chance.shuffle(shuffled)
    assert face_of(_frame(*tools)) == face_of(_frame(*shuffled))


@given(TOOLS, TOOLS)
def test_two_surfaces_with_one_face_say_the_same(one: list[Any], other: list[Any]) -> None:
    def canonical(tools: list[Any]) -> list[str]:
        return sorted(json.dumps(tool, sort_keys=True) for tool in tools)

    assert (face_of(_frame(*one)) == face_of(_frame(*other))) is (canonical(one) == canonical(other))


@pytest.mark.threat("T-RUGPULL")
@pytest.mark.parametrize(
    "other",
    [
        _frame(TOOL | {"description": "Gives back!"}),
        _frame(TOOL | {"_meta": {"ui": 1}}),
        _frame(TOOL, TOOL | {"name": "more"}),
        _frame(),
        _frame(TOOL, instructions="do this"),
        _frame(TOOL, server_info=_raw({"name": "y"})),
        _frame(TOOL, capabilities=_raw({"tools": {}, "logging": {}})),
        _frame(TOOL, prompts=[_raw({"name": "p"})]),
        _frame(TOOL, resources=[_raw({"uri": "p"})]),
        _frame(TOOL, templates=[_raw({"uri": "p"})]),
        _frame(tools=[], resources=[_raw(TOOL)]),
    ],
)
def test_an_instance_with_another_face_is_refused(other: SurfaceFrame) -> None:
    face = Face(lambda: None)
    face.show(_frame(TOOL))
    face.compare(_frame(dict(reversed(TOOL.items()))))
    with pytest.raises(Refused) as refused:
        face.compare(other)
    assert refused.value.code == "definition_changed"


@pytest.mark.parametrize("text", [b'{"a":1,"a":2}', b'{"a":1e999}', b"{", b'{"a":9007199254740993}'])
def test_what_no_strict_reader_understands_is_no_face(text: bytes) -> None:
    face = Face(lambda: None)
    with pytest.raises(SekishoError):
        face_of(_frame(tools=[msgspec.Raw(text)]))
    face.show(_frame(tools=[msgspec.Raw(text)]))
    assert not face.is_known
    with pytest.raises(SekishoError):
        face.compare(_frame(TOOL))


def test_a_changed_face_is_told_and_the_first_is_no_change() -> None:
    changes: list[None] = []
    face = Face(lambda: changes.append(None))
    known = [face.is_known]
    face.show(_frame(TOOL))
    face.show(_frame(TOOL))
    assert [*known, face.is_known] == [False, True]
    assert changes == []
    face.show(_frame())
    face.show(_frame(tools=[msgspec.Raw(b"{")]))
    assert len(changes) == 2
