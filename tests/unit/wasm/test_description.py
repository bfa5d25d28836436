"""The file beside a module is read whole, or refused with what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sekisho.plugin import PluginFault
from sekisho.wasm.description import MAX_FILE_BYTES, read_description

TOOL = {"name": "add", "description": "Adds.", "inputSchema": {"type": "object"}}
GOOD = {"name": "sums", "version": "1.0", "tools": [TOOL]}


def read(folder: Path, value: object) -> None:
    path = folder / "m.json"
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    read_description(path)


def test_a_description_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    more = {**TOOL, "name": "sub", "title": "Take away", "outputSchema": {"type": "object"}}
    path.write_text(json.dumps({**GOOD, "instructions": "Sums.", "tools": [TOOL, more]}))
    found = read_description(path)
    assert (found.name, found.version, found.instructions) == ("sums", "1.0", "Sums.")
    assert [(one.name, one.title, one.output_schema) for one in found.tools] == [
        ("add", None, None),
        ("sub", "Take away", {"type": "object"}),
    ]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[" * 100_000,
        b" " * (MAX_FILE_BYTES + 1),
        [],
        {},
        {**GOOD, "name": ""},
        {**GOOD, "name": "a b"},
        {**GOOD, "version": 1},
        {**GOOD, "instructions": 1},
        {**GOOD, "more": 1},
        {**GOOD, "tools": []},
        {**GOOD, "tools": [1]},
        {**GOOD, "tools": [TOOL, TOOL]},
        {**GOOD, "tools": [{**TOOL, "name": "a b"}]},
        {**GOOD, "tools": [{**TOOL, "description": ""}]},
        {**GOOD, "tools": [{**TOOL, "inputSchema": 1}]},
        {**GOOD, "tools": [{**TOOL, "outputSchema": 1}]},
        {**GOOD, "tools": [{**TOOL, "annotations": {}}]},
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(PluginFault, match="the description of the module"):
        read(tmp_path, value)
