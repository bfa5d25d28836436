from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server import call_words
from sekisho.plugin_server.call_words import CallWords
from sekisho.plugin_server.era import NO_STAMP, Stamp


@given(st.text(), st.booleans(), st.booleans())
def test_head_and_tails_make_a_call_of_any_name(tool: str, modern: bool, wants_progress: bool) -> None:
    words = CallWords(has_roots=False)
    words.agree(modern=modern)
    plain, noted = words.tails_of(Stamp(("sampling",), None, b'{"traceparent":"100%"}'))
    tail = noted % 5 if wants_progress else plain
    read = json.loads(b'{"jsonrpc":"2.0","id":5' + words.head_of(tool) + b"{}" + tail)
    assert (read["params"]["name"], read["params"]["_meta"]["traceparent"]) == (tool, "100%")
    assert read["params"]["_meta"].get("progressToken") == (5 if wants_progress else None)
    assert ("io.modelcontextprotocol/protocolVersion" in read["params"]["_meta"]) == modern


def test_what_was_written_for_one_era_is_not_kept_for_the_other() -> None:
    words = CallWords(has_roots=True)
    legacy = words.plain
    words.agree(modern=True)
    assert words.plain != legacy
    assert words.plain == words.tails_of(NO_STAMP)
    words.agree(modern=False)
    assert words.plain == legacy


@pytest.mark.interpreted
@pytest.mark.threat("T-FLOOD")
def test_many_tools_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_words, "MAX_HEADS", 2)
    words = CallWords(has_roots=False)
    for name in ("a", "b", "c", "a"):
        assert json.loads(b'{"id":1' + words.head_of(name) + b"{}}}")["params"]["name"] == name
