"""What a person hears of packages: what to type next, what is there, and what was before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.assembly.packages import installed_workload, runtime
from sekisho.config import load_core
from sekisho.install.kept import Receipt
from sekisho.install.manifest import Digests, digests_of
from sekisho.install.store import Store
from sekisho.install.tree import TreeLimits

Type = Callable[..., Any]
LOCK = b"lock\n"


@pytest.fixture
def store(home: Path) -> Store:
    """A house whose plugin `clock` is a package."""
    _configure(home, "1.0")
    return Store(home / "packages")


def _configure(home: Path, version: str) -> None:
    (home.parent / "sekisho.toml").write_text(
        f'[[plugins.servers]]\nname = "clock"\npackage = "pypi:tool=={version}"\n'
        '[[plugins.servers]]\nname = "notes"\ncommand = ["/bin/echo"]\n',
        encoding="utf-8",
    )


def _put(
    store: Store,
    version: str,
    *,
    command: tuple[str, ...] = ("{python}", "-I", "-S", "-c", "pass"),
    package: str = "",
    made_for: str = "",
) -> Path:
    """What an installation leaves."""
    package = package or f"pypi:tool=={version}"

    def describe(digests: Digests, files: int, size: int) -> Receipt:
        return Receipt(
            package=package,
            entry="tool",
            command=command,
            lock_name="requirements.txt",
            lock_sha256=digests_of(LOCK).sha256,
            tree_sha256=digests.sha256,
            tree_blake2b=digests.blake2b,
            files=files,
            bytes=size,
            packages=1,
            runtime=made_for or runtime(),
        )

    with store.writing():
        staged = store.workplace()
        (staged / "tree").mkdir()
        (staged / "tree" / "tool.py").write_text(version, encoding="utf-8")
        limits = TreeLimits(max_bytes=1000, max_files=10)
        kept = store.keep(staged, lock_name="requirements.txt", lock=LOCK, limits=limits, describe=describe)
        store.activate("clock", kept.digest, package)
    return kept.tree / "tool.py"


def test_what_is_not_installed_is_said_with_the_command_to_type(store: Store, typed: Type) -> None:
    del store
    answer = typed("install", "clock", "--verify", "--json")
    assert (answer.status, answer.error["code"]) == (1, "package_missing")
    assert answer.error["remedy"] == "run sekisho install clock"
    assert typed("sandbox", "plan", "clock", "--json").error["code"] == "package_missing"


def test_a_plugin_that_is_no_package_has_nothing_to_install(store: Store, typed: Type) -> None:
    del store
    for words in (("install", "notes"), ("install", "notes", "--verify"), ("rollback", "notes")):
        answer = typed(*words)
        assert answer.status == 2
        assert "no package" in answer.err


def test_a_suspicious_name_is_refused_before_anything_is_fetched(home: Path, typed: Type) -> None:
    (home.parent / "sekisho.toml").write_text(
        '[[plugins.servers]]\nname = "clock"\npackage = "pypi:mcp-server-tlme==1.0"\n', encoding="utf-8"
    )
    answer = typed("install", "clock", "--json")
    assert (answer.status, answer.error["code"]) == (1, "package_refused")
    assert "mcp-server-time" in answer.error["message"]
    assert "--accept-name" in answer.error["remedy"]
    assert not (home / "packages" / "sha256").exists()


def test_an_installed_package_is_proved_and_its_walls_are_printed(store: Store, typed: Type) -> None:
    file = _put(store, "1.0")
    told = typed("install", "clock", "--verify", "--json").json
    assert (told["state"], told["package"]) == ("sound", "pypi:tool==1.0")
    assert "clock: sound: pypi:tool==1.0 (1 packages, 1 files" in typed("install", "clock", "--verify").out
    plan = typed("sandbox", "plan", "clock", "--json").json
    assert str(file.parent) in plan["read_only"]
    assert plan["writable"] == []


def test_a_changed_file_is_found_by_reading_it(store: Store, typed: Type) -> None:
    file = _put(store, "1.0")
    file.chmod(0o644)
    file.write_text("2.0", encoding="utf-8")
    answer = typed("install", "clock", "--verify", "--json")
    assert (answer.status, answer.error["code"]) == (1, "package_tampered")


def test_another_version_in_the_file_is_another_installation(home: Path, store: Store, typed: Type) -> None:
    _put(store, "1.0")
    _configure(home, "2.0")
    answer = typed("install", "clock", "--verify", "--json")
    assert answer.error["code"] == "package_missing"
    assert "pypi:tool==1.0 is installed, and pypi:tool==2.0 is asked for" in answer.error["message"]


def test_rolling_back_uses_the_package_before_although_the_file_names_another(
    home: Path, store: Store, typed: Type
) -> None:
    _put(store, "1.0")
    assert typed("rollback", "clock", "--json").error["code"] == "package_refused"
    _configure(home, "2.0")
    _put(store, "2.0")
    told = typed("rollback", "clock", "--json").json
    assert (told["state"], told["package"]) == ("rolled back", "pypi:tool==1.0")
    assert typed("install", "clock", "--verify", "--json").json["package"] == "pypi:tool==1.0"
    assert "runs pypi:tool==1.0, rolled back from pypi:tool==2.0" in typed("plugins").out


@pytest.mark.parametrize(
    "more", ['runtime = "deno"', 'runtime = "wasm"', '[plugins.servers.sandbox]\ndriver = "oci"']
)
def test_what_would_run_it_with_another_interpreter_is_refused(
    home: Path, store: Store, typed: Type, more: str
) -> None:
    _put(store, "1.0")
    (home.parent / "sekisho.toml").write_text(
        f'[[plugins.servers]]\nname = "clock"\npackage = "pypi:tool==1.0"\n{more}\n', encoding="utf-8"
    )
    answer = typed("sandbox", "plan", "clock", "--json")
    assert (answer.status, answer.error["code"]) == (2, "config_invalid")


def test_deno_is_given_the_script_of_an_npm_package(home: Path, store: Store) -> None:
    _put(store, "1.0", command=("{node}", "{tree}/tool.js"), package="npm:tool@1.0.0", made_for="node")
    config = home.parent / "sekisho.toml"
    for more, first in (("", ["node"]), ('runtime = "deno"', [])):
        config.write_text(
            f'[[plugins.servers]]\nname = "clock"\npackage = "npm:tool@1.0.0"\narguments = ["-v"]\n{more}\n',
            encoding="utf-8",
        )
        workload = installed_workload(load_core(config).plugin("clock").workload, home / "packages")
        (tree,) = workload.runtime_paths
        assert list(workload.command) == [*first, f"{tree}/tool.js", "-v"]


@pytest.mark.parametrize("option", ["--fresh", "--accept-name"])
def test_verifying_installs_nothing_and_says_so(typed: Type, store: Store, option: str) -> None:
    answer = typed("install", "clock", "--verify", option)
    assert answer.status == 2
    assert "contradict" in answer.err


def test_the_list_of_plugins_says_which_release_runs_after_a_step_back(
    store: Store, home: Path, typed: Type
) -> None:
    def listed() -> tuple[str, str]:
        row = typed("plugins", "--json").json["plugins"][0]
        return row["where"], row["summary"]

    _put(store, "1.0")
    assert listed() == ("runs pypi:tool==1.0", "never listed")
    _configure(home, "2.0")
    assert listed() == ("runs pypi:tool==2.0", "not installed")
    _put(store, "2.0")
    assert listed() == ("runs pypi:tool==2.0", "never listed")
    assert typed("rollback", "clock").status == 0
    assert listed() == ("runs pypi:tool==1.0, rolled back from pypi:tool==2.0", "never listed")
    receipt = next((store.folder / "sha256").glob("*/receipt.json"))
    receipt.chmod(0o644)
    receipt.write_text("{}", encoding="utf-8")
    assert typed("plugins").status == 0  # one that cannot be read is for its start to refuse
    _configure(home, "3.0")  # another release ends the step back
    assert listed() == ("runs pypi:tool==3.0", "not installed")
