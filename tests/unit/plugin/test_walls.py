"""What a plugin is told of its walls, and that it looks for itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin.faults import SettingMissing, WallsDiffer
from sekisho.plugin.walls import SANDBOX_VARIABLE, SandboxConfig

PATHS = st.lists(st.text(max_size=20), max_size=3).map(tuple)
CONFIGS = st.builds(
    SandboxConfig,
    isolation=st.sampled_from(["strict", "standard"]),
    max_memory_mb=st.integers(1, 1 << 20),
    execution_timeout_s=st.floats(0.001, 86_400),
    allowed_domains=PATHS,
    allow_localhost=st.booleans(),
    read_only_paths=PATHS,
)
LOOSE = SandboxConfig(isolation="standard")  # what the kernel holds is shown behind real walls, in tests/real


@given(CONFIGS)
def test_what_the_plugin_server_writes_is_what_the_plugin_reads(config: SandboxConfig) -> None:
    assert SandboxConfig.from_environment({SANDBOX_VARIABLE: config.as_text()}) == config


def test_settings_are_what_else_is_in_the_environment() -> None:
    config = SandboxConfig.from_environment(
        {SANDBOX_VARIABLE: LOOSE.as_text(), "WORDPRESS_URL": "u", "EMPTY": ""}
    )
    assert config.setting("WORDPRESS_URL") == "u"
    assert config.setting("EMPTY", "d") == "d"
    assert SANDBOX_VARIABLE not in config.environment
    with pytest.raises(SettingMissing, match="EMPTY"):
        config.setting("EMPTY")
    assert "WORDPRESS_URL" not in repr(config)


def test_without_the_variable_there_are_no_walls_and_it_says_so() -> None:
    config = SandboxConfig.from_environment({"A": "b"})
    assert config.isolation == "unsafe-none"
    assert not config.has_walls
    config.check()


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "nonsense", json.dumps({**json.loads(LOOSE.as_text()), "read_only_paths": "/a"})],
)
def test_a_text_that_cannot_be_read_is_no_reason_to_guess(text: str) -> None:
    with pytest.raises(WallsDiffer):
        SandboxConfig.from_environment({SANDBOX_VARIABLE: text})


def test_paths_that_are_as_told_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    blocked = (str(tmp_path / "empty"), str(tmp_path / "gone"))
    replace(LOOSE, writable_paths=(str(tmp_path),), blocked_paths=blocked).check()
    replace(LOOSE, read_only_paths=(str(tmp_path / "empty"),)).check()


@pytest.mark.parametrize("kind", ["read_only_paths", "writable_paths", "blocked_paths"])
def test_a_path_that_is_not_as_told_stops_the_plugin(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("something")
    wrong = {
        "read_only_paths": str(tmp_path / "gone"),
        "writable_paths": str(tmp_path / "gone"),
        "blocked_paths": str(tmp_path),  # something is in it
    }[kind]
    with pytest.raises(WallsDiffer):
        SandboxConfig(isolation="standard", **{kind: (wrong,)}).check()  # type: ignore[arg-type]  # a name of the table above


def test_strict_walls_that_are_not_there_are_noticed() -> None:
    with pytest.raises(WallsDiffer):  # this process has no filter and a network
        SandboxConfig(isolation="strict").check()
