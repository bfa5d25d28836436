"""The reference page is the schema, written out."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.config import reference
from sekisho.config.core import CoreConfig
from sekisho.config.field import settings_of
from sekisho.config.plugin import PluginConfig

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"


def test_the_page_equals_the_schema() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "write it again: sekisho.config.reference()"


@pytest.mark.parametrize("top", [CoreConfig, PluginConfig])
def test_every_setting_stands_on_the_page(top: type) -> None:
    page = reference()
    waiting = [top]
    while waiting:
        for one, kind, doc in settings_of(waiting.pop()):
            assert doc.endswith("."), one.name
            if kind.table is not None:
                waiting.append(kind.table)
            else:
                assert f"| `{one.name}` |" in page


def test_tables_are_headed_as_toml_writes_them() -> None:
    page = reference()
    for header in ("[core_server]", "[[plugins.servers]]", "[plugins.servers.sandbox]", "[plugin_server]"):
        assert f"### `{header}`\n" in page
