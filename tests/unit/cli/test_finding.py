"""One order everywhere for the configuration file and the home folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.cli.finding import find, find_any, home_of, person
from sekisho.config import CoreConfig, PluginConfig


def test_the_environment_names_the_home_folder_first(home: Path) -> None:
    Path("sekisho.toml").write_text('home = "other"\n')
    assert find(Path("sekisho.toml")).home == home


def test_then_the_file_names_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEKISHO_HOME")
    Path("sekisho.toml").write_text('home = "other"\n')
    assert find(Path("sekisho.toml")).home == home.parent / "other"


def test_else_it_is_the_users_data_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEKISHO_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(home.parent / "data"))
    assert home_of(CoreConfig()) == home.parent / "data" / "sekisho"


def test_the_lock_file_stands_beside_the_configuration(home: Path) -> None:
    site = find(Path("sekisho.toml"))
    assert site.lock == home.parent / "sekisho.lock"
    assert site.keys == home / "keys"


def test_either_kind_of_file_is_found(home: Path) -> None:
    Path("p.toml").write_text('[plugin_server]\nname = "a"\n')
    assert isinstance(find_any(Path("p.toml")), PluginConfig)
    assert isinstance(find_any(Path("sekisho.toml")), CoreConfig)


def test_the_person_is_the_one_who_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "mina")
    assert person() == "mina"
    for name in ("SUDO_USER", "LOGNAME", "USER"):
        monkeypatch.delenv(name, raising=False)
    assert person().startswith("uid ")
