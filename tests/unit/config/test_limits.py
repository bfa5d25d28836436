"""The limits: every one takes effect, has a safe default, and refuses what nobody could honour."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from sekisho.config import Limits, PluginConfig, PluginLimits, load_core, load_plugin
from sekisho.errors import Misconfigured


@pytest.mark.parametrize("name", [one.name for one in fields(Limits)])
def test_each_limit_takes_effect(tmp_path: Path, name: str) -> None:
    file = tmp_path / "sekisho.toml"
    value = {"max_depth": 99, "max_batch_messages": 500}.get(name, 5000)
    file.write_text(f"[limits]\n{name} = {value}\n")
    assert getattr(load_core(file).limits, name) == value


@pytest.mark.parametrize("name", [one.name for one in fields(PluginLimits)])
def test_each_limit_of_a_plugin_file_takes_effect(tmp_path: Path, name: str) -> None:
    file = tmp_path / "plugin.toml"
    value = 99 if name == "max_depth" else 5000
    file.write_text(f'[limits]\n{name} = {value}\n[plugin_server]\nname = "one"\ncommand = ["x"]\n')
    config: PluginConfig = load_plugin(file)
    assert getattr(config.limits, name) == value


@pytest.mark.parametrize("value", ["0", "-1", "true", '"5"', "1e99", "nan"])
@pytest.mark.parametrize("name", [one.name for one in fields(Limits)])
def test_a_limit_that_nobody_can_honour_is_refused(tmp_path: Path, name: str, value: str) -> None:
    file = tmp_path / "sekisho.toml"
    file.write_text(f"[limits]\n{name} = {value}\n")
    with pytest.raises(Misconfigured, match=name):
        load_core(file)


def test_a_file_without_the_table_keeps_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "sekisho.toml"
    file.write_text("")
    assert load_core(file).limits == Limits()
