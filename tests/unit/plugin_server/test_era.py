from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server.era import NO_STAMP, Stamp, capabilities, stamped, tails

WORDS = ("elicitation", "elicitation/url", "sampling", "sampling/tools", "tasks")
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.sets(st.sampled_from(WORDS)), st.booleans())
def test_a_capability_is_stated_exactly_if_it_may_be_used(words: set[str], has_roots: bool) -> None:
    stated: dict[str, Any] = capabilities(words, has_roots=has_roots)
    elicitation = stated.get("elicitation")
    assert (elicitation is not None and "form" in elicitation) == ("elicitation" in words)
    assert (elicitation is not None and "url" in elicitation) == ("elicitation/url" in words)
    assert ("sampling" in stated) == bool(words & {"sampling", "sampling/tools"})
    assert ("tools" in stated.get("sampling", {})) == ("sampling/tools" in words)
    assert ("roots" in stated) == has_roots
    assert ("io.modelcontextprotocol/tasks" in stated.get("extensions", {})) == ("tasks" in words)


@given(st.dictionaries(TEXT | st.sampled_from(["progressToken", "io.modelcontextprotocol/logLevel"]), TEXT))
def test_members_of_the_client_never_stand_in_for_ours(meta: dict[str, str]) -> None:
    stamp = Stamp(meta=json.dumps(meta).encode())
    legacy = stamped({"a": 1}, stamp, modern=False, token=5, has_roots=False)
    modern = stamped({"a": 1}, stamp, modern=True, token=None, has_roots=False)
    assert legacy is not None
    assert modern is not None
    own = {
        name: value
        for name, value in meta.items()
        if name != "progressToken" and not name.startswith("io.modelcontextprotocol/")
    }
    assert json.loads(legacy) == {"a": 1, "_meta": own | {"progressToken": 5}}
    stated = json.loads(modern)["_meta"]
    assert stated.items() >= own.items()
    assert stated["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert "io.modelcontextprotocol/logLevel" not in stated
    assert "progressToken" not in stated


def test_a_legacy_request_with_nothing_to_say_has_no_meta() -> None:
    assert stamped(None, NO_STAMP, modern=False, token=None, has_roots=True) is None
    assert stamped({}, NO_STAMP, modern=False, token=None, has_roots=True) == b"{}"


@pytest.mark.parametrize(
    "stamp",
    [
        NO_STAMP,
        Stamp(("elicitation",), "debug", b'{"traceparent":"100%d"}'),
        Stamp(meta=b'{"progressToken":1}'),
        Stamp(meta=b"{}"),
    ],
)
def test_the_tails_of_a_call_say_what_its_stamp_says(stamp: Stamp) -> None:
    for modern in (False, True):
        for has_roots in (False, True):
            plain, noted = tails(stamp, modern=modern, has_roots=has_roots)
            for token, tail in ((None, plain), (7, noted % 7)):
                long = stamped({"a": 1}, stamp, modern=modern, token=token, has_roots=has_roots)
                assert long is not None
                assert json.loads(b'{"params":{"a":1' + tail) == {"params": json.loads(long)}


def test_a_plugin_is_told_of_a_client_that_shows_its_pages_and_of_no_other() -> None:
    told = capabilities(("apps",), has_roots=False)
    assert told == {
        "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}
    }
    assert set(capabilities(("apps", "tasks"), has_roots=False)["extensions"]) == {  # type: ignore[call-overload]
        "io.modelcontextprotocol/ui",
        "io.modelcontextprotocol/tasks",
    }
    assert capabilities((), has_roots=False) == {}
