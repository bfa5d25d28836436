"""What the installers are told: no scripts, no sources, no configuration of anybody, nothing without its digest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sekisho.install.package import read_package
from sekisho.install.stages import Command, fetch, project, unpack

PLACE = Path("/place")
PYPI = read_package("pypi:mcp[cli]==2.3")
NPM = read_package("npm:@a/b@1.0.0")


def _all(*, has_lock: bool) -> list[tuple[str, ...]]:
    commands: list[Command] = []
    for package in (PYPI, NPM):
        registry, ca = "https://registry.example.com", Path("/place/ca.pem")
        commands += fetch(package, PLACE, registry=registry, python="/py", ca=ca, has_lock=has_lock)
        commands += unpack(package, PLACE, registry="https://registry.example.com", python="/py")
    return [command.argv for command in commands]


@pytest.mark.parametrize("has_lock", [False, True])
def test_npm_runs_no_script_and_pip_takes_no_source(has_lock: bool) -> None:
    for argv in _all(has_lock=has_lock):
        if argv[0] == "npm":
            assert {"--ignore-scripts", "--git=/nowhere/git"} <= set(argv)
        elif "--isolated" in argv:
            assert "--only-binary=:all:" in argv
            assert {"-I", "--isolated", "--no-input"} <= set(argv)
        else:
            assert "compileall" in argv or argv[1:3] == ("-I", "-c")


@pytest.mark.threat("T-PACKAGE")
@pytest.mark.parametrize(
    "code",
    [
        "import subprocess; subprocess.run(['/bin/true'])",
        "import os; os.system('true')",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import os; os.fork() or os._exit(0)",
    ],
)
def test_pip_may_start_no_program(tmp_path: Path, code: str) -> None:
    (start,) = (argv[3] for argv in _all(has_lock=False) if "download" in argv)
    (tmp_path / "pip.py").write_text(code)
    words = [sys.executable, "-c", start, "--version"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "no program may be started" in done.stderr
    (tmp_path / "pip.py").write_text("import sys; print(sys.argv[1:], __name__)\n")
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("['--version'] __main__\n", 0)


def test_unpacking_asks_no_registry_and_takes_only_what_has_its_digest() -> None:
    for package, words in (
        (PYPI, {"--no-index", "--require-hashes", "--no-deps"}),
        (NPM, {"ci", "--offline"}),
    ):
        argv = unpack(package, PLACE, registry="https://registry.example.com", python="/py")[0].argv
        assert words <= set(argv)
        assert not any("https:" in word for word in argv if not word.startswith("--registry="))


def test_a_lock_is_fetched_as_it_states() -> None:
    (argv,) = [
        command.argv
        for command in fetch(PYPI, PLACE, registry="https://r.example", python="/py", ca=None, has_lock=True)
    ]
    assert {"--require-hashes", "--no-deps"} <= set(argv)
    assert "mcp[cli]==2.3" not in argv
    (argv,) = [
        command.argv
        for command in fetch(NPM, PLACE, registry="https://r.example", python="/py", ca=None, has_lock=True)
    ]
    assert argv[:2] == ("npm", "ci")


def test_only_one_registry_is_asked() -> None:
    for argv in _all(has_lock=False):
        assert len([word for word in argv if "registry.example.com" in word]) <= 1
        assert not any(word.startswith("--extra-index-url") for word in argv)


def test_everything_is_written_below_the_workplace() -> None:
    for package in (PYPI, NPM):
        for command in unpack(package, PLACE, registry="https://registry.example.com", python="/py"):
            assert command.cwd.is_relative_to(PLACE)


def test_the_project_of_npm_depends_on_exactly_the_package() -> None:
    assert json.loads(project(NPM))["dependencies"] == {"@a/b": "1.0.0"}
