"""Configuration files in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sekisho.config import CoreConfig, PluginConfig, load_core, load_plugin
from sekisho.errors import Misconfigured


@pytest.fixture
def core(tmp_path: Path) -> Callable[[str], CoreConfig]:
    """Write a core file and load it."""

    def load(text: str) -> CoreConfig:
        path = tmp_path / "sekisho.toml"
        path.write_text(text, encoding="utf-8")
        return load_core(path)

    return load


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], PluginConfig]:
    """Write a plugin file and load it."""

    def load(text: str) -> PluginConfig:
        path = tmp_path / "plugin.toml"
        path.write_text(text, encoding="utf-8")
        return load_plugin(path)

    return load


@pytest.fixture
def refused(core: Callable[[str], CoreConfig], tmp_path: Path) -> Callable[[str], Misconfigured]:
    """Load a core file that must be refused; the folder is cut from the message."""

    def load(text: str) -> Misconfigured:
        with pytest.raises(Misconfigured) as caught:
            core(text)
        error = caught.value
        return Misconfigured(error.code, error.message.replace(f"{tmp_path}/", ""), remedy=error.remedy)

    return load


@pytest.fixture(scope="session")
def samples() -> Path:
    """The two sample files of the requirements, unchanged."""
    return Path(__file__).parents[2] / "samples"
