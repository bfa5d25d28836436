from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.credentials.answers import LIMITS, read_answer
from sekisho.errors import RemoteProtocolError


class Said(msgspec.Struct):
    word: str


def _nested(levels: int) -> bytes:
    return b'{"word":"a","more":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def test_members_that_nobody_asked_for_are_ignored() -> None:
    assert read_answer(b'{"more":[{}],"word":"a"}', Said) == Said("a")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"word":1}', b'{"word":"\xff"}', b"\xef\xbb\xbf{}", b'{"word":"a"']
)
def test_what_is_no_such_value_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_answer(body, Said)


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("levels", [LIMITS.max_depth + 1, 900, 5_000, 100_000])
def test_how_deep_is_too_deep_does_not_depend_on_the_interpreter(levels: int) -> None:
    assert read_answer(_nested(LIMITS.max_depth), Said) == Said("a")
    with pytest.raises(RemoteProtocolError):
        read_answer(_nested(levels), Said)


@given(st.text())
def test_every_text_arrives_as_it_was_written(word: str) -> None:
    assert read_answer(json.dumps({"word": word}).encode(), Said) == Said(word)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_refusal(body: bytes) -> None:
    try:
        read_answer(body, Said)
    except RemoteProtocolError as error:
        assert error.code == "json_malformed"  # noqa: PT017 - bytes may be a value by chance
