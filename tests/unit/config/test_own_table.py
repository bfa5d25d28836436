"""A plugin's own values become variables of its environment, and no dangerous ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.config.own_table import plugin_settings, settings_names
from sekisho.errors import Misconfigured

FOLDER = Path("/")


def test_plain_values_become_text() -> None:
    read = plugin_settings().read({"url": "u", "port": 3, "ratio": 0.5, "debug": True}, FOLDER)
    assert read == (("url", "u"), ("port", "3"), ("ratio", "0.5"), ("debug", "true"))


@pytest.mark.parametrize("value", [{"a": []}, {"a": {}}, {"a": "x\0y"}, 3])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(Misconfigured):
        plugin_settings().read(value, FOLDER)


def test_settings_are_named_after_the_plugin() -> None:
    named = settings_names("wordpress-handler", (("url", "u"), ("page.size", "9")))
    assert named == {"WORDPRESS_URL": "u", "WORDPRESS_PAGE_SIZE": "9"}


@pytest.mark.parametrize(
    ("name", "key"),
    [("node-tools", "options"), ("ld", "preload"), ("python", "path"), ("a", "b=c"), ("a", "b c")],
)
def test_settings_cannot_spell_a_dangerous_variable(name: str, key: str) -> None:
    with pytest.raises(Misconfigured):
        settings_names(name, ((key, "x"),))


def test_two_settings_cannot_share_a_variable() -> None:
    with pytest.raises(Misconfigured, match="A_B_C twice"):
        settings_names("a", (("b-c", "1"), ("b_c", "2")))
