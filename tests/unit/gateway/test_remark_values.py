"""What a plugin says before its answer, as values."""

from __future__ import annotations

import msgspec
import pytest

from sekisho.gateway.remark_values import Progress, Question


@pytest.mark.parametrize(
    "text",
    [b"{}", b'{"progress":"1"}', b'{"progress":true}', b'{"progress":1,"token":1}', b'{"progress":null}'],
)
def test_progress_is_a_number_and_nothing_that_mcp_does_not_name(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Progress)


@pytest.mark.parametrize("text", [b'{"progress":1}', b'{"progress":0.5,"total":1,"message":"m"}'])
def test_what_is_not_said_is_not_written_either(text: bytes) -> None:
    assert msgspec.json.encode(msgspec.json.decode(text, type=Progress)) == text


def test_a_question_that_was_judged_is_changed_by_nobody() -> None:
    question = Question("q1", "elicitation", "elicitation/create", b"{}")
    with pytest.raises(AttributeError):
        question.params = b'{"other":1}'  # type: ignore[misc]  # what is frozen is not assigned to
