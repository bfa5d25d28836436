"""Exit status, streams and errors are the same for every command; starting is quick."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.cli.app import COMMANDS

Type = Callable[..., Any]


def test_help_lists_every_command(typed: Type) -> None:
    answer = typed("--help")
    assert answer.status == 0
    for command, (_, line, _) in COMMANDS.items():
        assert command.split()[0] in answer.out
        if " " not in command:
            assert line in answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(typed: Type, command: str) -> None:
    answer = typed(*command.split(), "--help")
    assert answer.status == 0
    assert "--json" in answer.out
    assert answer.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_the_line_in_the_table_is_how_the_commands_own_help_begins(typed: Type, command: str) -> None:
    own = " ".join(typed(*command.split(), "--help").out.split("\n\n")[1].split())
    assert own.startswith(COMMANDS[command][1].rstrip("."))


@pytest.mark.parametrize("words", [(), ("config",), ("audit",)])
def test_a_command_line_without_a_command_shows_what_there_is(typed: Type, words: tuple[str, ...]) -> None:
    assert "Usage" in typed(*words).out


@pytest.mark.parametrize(
    "words",
    [
        ("frob",),
        ("version", "--frob"),
        ("review",),
        ("plugins", "too", "many"),
        ("audit", "frob"),
        ("audit", "prove", "x"),
        ("up", "--config"),
        ("version", "--no-json"),
    ],
)
def test_a_mistyped_command_line_ends_with_two(typed: Type, words: tuple[str, ...]) -> None:
    answer = typed(*words)
    assert answer.status == 2
    assert answer.out == ""
    first, second = answer.err.splitlines()
    assert first.startswith("sekisho: ")
    assert second.startswith("→ ")


@pytest.mark.parametrize(
    ("words", "page"),
    [(("token", "show", "x"), "token show"), (("token", "frob"), "token"), (("plugins", "x"), "plugins")],
)
def test_a_mistake_leads_to_the_help_of_what_was_typed(
    typed: Type, words: tuple[str, ...], page: str
) -> None:
    assert typed(*words).err.splitlines()[1] == f"→ type sekisho {page} --help"
    assert typed(*page.split(), "--help").status == 0


@pytest.mark.parametrize("words", [["version"], ["version", "--json"], ["--help"]])
def test_a_full_disk_under_what_is_printed_is_told_as_one(words: list[str]) -> None:
    line = "import sys\nfrom sekisho.cli import main\nsys.exit(main(sys.argv[1:]))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", line, *words], stdout=full, stderr=-1, text=True, timeout=30, check=False
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == (1 if "--json" in words else 2)


def test_a_mistake_is_json_for_a_program(typed: Type) -> None:
    answer = typed("version", "--frob", "--json")
    assert (answer.status, answer.out) == (2, "")
    assert set(answer.error) == {"code", "message", "remedy"}


def test_a_configuration_error_ends_with_two_and_says_where(typed: Type, home: Path) -> None:
    Path("sekisho.toml").write_text("[securty]\n")
    answer = typed("plugins")
    assert answer.status == 2
    assert answer.err.splitlines()[0].startswith("sekisho: sekisho.toml:1: securty: unknown key")
    assert answer.err.splitlines()[1] == "→ did you mean security?"
    assert typed("plugins", "--json").error["code"] == "config_invalid"


def test_words_after_the_double_hyphen_are_not_ours(typed: Type, home: Path) -> None:
    answer = typed("plugin", "--config", "none.toml", "--", "server", "--json")
    assert answer.status == 2
    assert answer.err.startswith("sekisho: none.toml: cannot be read")


def test_version_flag_prints_the_version(typed: Type) -> None:
    assert typed("--version").out == typed("version").out


@pytest.mark.parametrize(
    "words",
    [["version"], ["--help"], ["up", "--help"], ["--version"], ["version", "--json"]],
    ids=" ".join,
)
def test_a_reader_that_leaves_early_causes_no_complaint(words: list[str]) -> None:
    done = _typed_at_a_reader_that_left(words, "stdout")
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize(("words", "status"), [(["frob"], 2), (["frob", "--json"], 2), (["version"], 0)])
def test_a_mistake_nobody_hears_of_is_still_in_the_status(words: list[str], status: int) -> None:
    assert _typed_at_a_reader_that_left(words, "stderr").returncode == status


def _typed_at_a_reader_that_left(words: list[str], stream: str) -> subprocess.CompletedProcess[bytes]:
    line = "import sys\nfrom sekisho.cli import main\nsys.exit(main(sys.argv[1:]))"
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as left:
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: left}
        return subprocess.run([sys.executable, "-c", line, *words], **streams, timeout=60, check=False)


def test_an_interrupt_before_there_is_a_command_line_ends_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-m", "sekisho", "version"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        timeout=30,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr == b""


def test_the_package_is_the_program_too(typed: Type) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sekisho", "version"], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == typed("version").out


def test_help_imports_no_command_and_no_room() -> None:
    code = (
        "import sys\nfrom sekisho.cli import main\nmain(['--help'])\n"
        "loaded = [one for one in sys.modules if one.startswith('sekisho.')]\n"
        "sys.exit(' '.join(sorted(set(loaded) - {'sekisho.cli', 'sekisho.cli.app', 'sekisho.cli.saying', "
        "'sekisho.cli.streams', 'sekisho.errors'})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr.strip() == ""
