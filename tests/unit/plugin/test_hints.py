"""What an author may write in a signature, and what is refused when the plugin is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from sekisho.plugin.hints import HintUnknown, described, shape_of
from sekisho.plugin.shapes import FilePath, Range, Size, Text, WebUrl


class Post(TypedDict):
    """A record of the tests."""

    id: Annotated[int, Range(1, 10), "Which post."]
    title: str
    tags: NotRequired[list[str]]


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string", "maxLength": 10_000}),
        (Annotated[str, Text(max_chars=3, min_chars=1)], {"type": "string", "maxLength": 3, "minLength": 1}),
        (
            Annotated[str, Text(pattern="a|b")],
            {"type": "string", "maxLength": 10_000, "pattern": "^(?:a|b)$"},
        ),
        (Annotated[str, WebUrl()], {"type": "string", "maxLength": 2_048, "format": "uri"}),
        (Annotated[str, FilePath(max_chars=9)], {"type": "string", "maxLength": 9}),
        (Annotated[int, Range(0, 9)], {"type": "integer", "minimum": 0, "maximum": 9}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (bool | None, {"anyOf": [{"type": "boolean"}, {"type": "null"}]}),
        (
            Annotated[int | None, Range(1, 2)],
            {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 2}, {"type": "null"}]},
        ),
        (
            Annotated[list[bool], Size(1, 2)],
            {"type": "array", "items": {"type": "boolean"}, "maxItems": 2, "minItems": 1},
        ),
    ],
)
def test_a_hint_becomes_the_schema_it_means(hint: Any, schema: dict[str, object]) -> None:
    assert shape_of(hint, where="x").schema() == schema


def test_a_record_keeps_its_descriptions_and_what_it_needs() -> None:
    schema = shape_of(Post, where="x").schema()
    assert schema["required"] == ["id", "title"]
    assert schema["properties"]["id"]["description"] == "Which post."  # type: ignore[index]  # it is a table


def test_a_result_may_have_several_lines() -> None:
    assert shape_of(str, where="x", is_result=True).read("a\nb", "x") == "a\nb"


@pytest.mark.parametrize(
    "hint", [Any, object, dict, list, dict[str, str], bytes, int | str, Literal[1], tuple[int]]
)
def test_a_hint_nobody_can_check_is_refused(hint: Any) -> None:
    with pytest.raises(HintUnknown, match=r"tool\.x"):
        shape_of(hint, where="tool.x")


def test_the_description_is_the_plain_text_beside_the_type() -> None:
    assert described({"a": Annotated[int, Range(0, 1), "How many."], "b": str}) == {"a": "How many."}
