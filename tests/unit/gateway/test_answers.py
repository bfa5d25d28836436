"""What the gateway says about itself, in the words of each era."""

from __future__ import annotations

import json

import pytest

from sekisho.gateway import answers
from sekisho.protocol import META_SERVER_INFO, SUPPORTED, response_bytes, result_bytes


def test_initialize_states_the_version_and_tools_only() -> None:
    said = json.loads(answers.initialize_result("2025-06-18"))
    assert said["protocolVersion"] == "2025-06-18"
    assert list(said["capabilities"]) == ["tools"]
    assert said["serverInfo"]["name"] == "sekisho"


def test_discover_states_every_version_and_may_not_be_kept() -> None:
    said = json.loads(answers.discover_result())
    assert said["supportedVersions"] == list(SUPPORTED)
    assert (said["ttlMs"], said["cacheScope"], said["resultType"]) == (0, "private", "complete")
    assert said["_meta"][META_SERVER_INFO]["name"] == "sekisho"


def test_a_list_is_the_array_alone_to_a_legacy_client() -> None:
    assert answers.list_result(b"[1]", modern=False) == b'{"tools":[1]}'
    said = json.loads(answers.list_result(b"[1]", modern=True))
    assert (said["tools"], said["cacheScope"]) == ([1], "private")


@pytest.mark.parametrize("ident", [7, "seven", "ü"])
def test_a_call_result_carries_what_the_era_knows(ident: int | str) -> None:
    given = b'{"content":[],"n":12345678901234567890123}'
    complete = given[:-1] + b',"resultType":"complete"}'
    assert answers.call_result(given, modern=True) == complete
    assert answers.call_result(given, modern=False) == given
    for modern, result in ((True, complete), (False, given)):
        whole = response_bytes(200, result_bytes(ident, result))
        assert answers.response(ident, given, is_call=modern) == whole
