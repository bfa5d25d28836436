from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.assembly.relay_tools import MAX_PAGES, ToolLists


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"properties": {"a": {"x-mcp-header": "A"}}}, **more}


def names(lists: ToolLists) -> list[str]:
    return [json.loads(bytes(one))["name"] for one in lists.annotated]


def test_pages_add_to_a_list_and_a_first_page_begins_it_anew() -> None:
    lists = ToolLists()
    assert lists.add(raw({}), raw({"tools": [tool("a")], "nextCursor": "c"})) == "c"
    assert lists.add(raw({"cursor": "c"}), raw({"tools": [tool("b"), {"name": "plain"}]})) is None
    assert names(lists) == ["a", "b"]
    lists.add(raw({}), raw({"tools": [tool("c")]}))
    assert names(lists) == ["c"]


@pytest.mark.threat("T-FLOOD")
def test_a_list_without_end_is_left_and_a_huge_tool_is_not_kept() -> None:
    lists = ToolLists()
    params, pages = raw({}), 0
    while lists.add(params, raw({"tools": [], "nextCursor": "c"})) is not None:
        params = raw({"cursor": "c"})
        pages += 1
    assert pages == MAX_PAGES - 1
    lists.add(raw({}), raw({"tools": [tool("big", description="x" * (9 << 20)), tool("a")]}))
    assert names(lists) == ["a"]


def test_our_own_request_says_of_the_client_what_its_call_said() -> None:
    params = raw({"name": "t", "_meta": {"progressToken": 1, "k": 2}})
    assert json.loads(ToolLists().request(params, None)) == {"_meta": {"k": 2}}
    assert json.loads(ToolLists().request(params, "c")) == {"_meta": {"k": 2}, "cursor": "c"}


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_page_is_read_or_ignored(params: bytes, result: bytes) -> None:
    ToolLists().add(msgspec.Raw(params), msgspec.Raw(result))
