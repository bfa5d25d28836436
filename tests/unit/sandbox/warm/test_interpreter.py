"""A command is read as Python would read it, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.sandbox.warm.interpreter import PythonCommand, read_command, uses_sdk

PYTHON: Final = sys.executable
WAIT_S: Final = 30.0


def read(*words: str) -> tuple[object, ...] | None:
    command = read_command((PYTHON, *words))
    return None if command is None else (command.interpreter[1:], command.mode, command.target, command.argv)


@pytest.mark.parametrize(
    ("words", "understood"),
    [
        (["s.py", "a", "-c"], ((), "file", "s.py", ("s.py", "a", "-c"))),
        (["-I", "-u", "s.py"], (("-I", "-u"), "file", "s.py", ("s.py",))),
        (["-Iu", "-m", "pkg.mod", "x"], (("-Iu",), "module", "pkg.mod", ("-m", "x"))),
        (["-Im", "pkg"], (("-I",), "module", "pkg", ("-m",))),
        (["-mpkg"], ((), "module", "pkg", ("-m",))),
        (["-cprint(1)", "-x"], ((), "code", "print(1)", ("-c", "-x"))),
        (["-X", "utf8", "-Wignore", "s"], (("-X", "utf8", "-Wignore"), "file", "s", ("s",))),
        (["-uWignore", "s"], (("-uWignore",), "file", "s", ("s",))),
    ],
)
def test_words_that_python_would_run(words: list[str], understood: tuple[object, ...]) -> None:
    assert read(*words) == understood


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-"],
        ["-i", "s.py"],
        ["--version"],
        ["-V"],
        ["-x", "s.py"],
        ["-c"],
        ["-m"],
        ["-X"],
        ["-I"],
        ["a.pyz"],
    ],
)
def test_anything_else_starts_in_the_ordinary_way(words: list[str]) -> None:
    assert read(*words) is None


def test_a_console_script_is_its_interpreter_and_itself(tmp_path: Path) -> None:
    script = tmp_path / "server"
    script.write_text(f"#!{PYTHON} -I\nprint()\n")
    command = read_command((str(script), "x"))
    assert command == PythonCommand(
        words=(PYTHON, "-I", str(script), "x"),
        interpreter=(PYTHON, "-I"),
        mode="file",
        target=str(script),
        argv=(str(script), "x"),
    )


@pytest.mark.parametrize("line", ["#!/bin/sh", "#!/usr/bin/env python3", f"#!{PYTHON} -I -u", "", "#!"])
def test_a_script_of_anything_else_is_not_ours(tmp_path: Path, line: str) -> None:
    script = tmp_path / "server"
    script.write_text(f"{line}\nprint()\n")
    assert read_command((str(script),)) is None


def test_a_wrapper_called_python_is_not_python(tmp_path: Path) -> None:
    wrapper = tmp_path / "python3"
    wrapper.write_text("#!/bin/sh\nexec something\n")
    assert read_command((str(wrapper), "s.py")) is None
    assert read_command((str(tmp_path / "absent" / "python3x"), "s.py")) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("from mcp.server import MCPServer\n", True),
        ("if True:\n    import fastmcp\n", True),
        ("import mcpx\n", False),
        ("text = 'no import of mcp'\n", False),
    ],
)
def test_a_script_says_whether_it_uses_the_sdk(tmp_path: Path, text: str, wanted: bool) -> None:
    (tmp_path / "s.py").write_text(text)
    command = read_command((PYTHON, "s.py"))
    assert command is not None
    assert uses_sdk(command, str(tmp_path)) is wanted
    assert uses_sdk(command, str(tmp_path / "elsewhere")) is False


def test_a_module_and_a_console_script_are_supposed_to_use_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "server").write_text(f"#!{PYTHON}\n")
    for words in ((PYTHON, "-m", "server"), (str(tmp_path / "bin" / "server"),)):
        command = read_command(words)
        assert command is not None
        assert uses_sdk(command, "/")


TELL: Final = "import json, sys; print(json.dumps([sys.argv, *map(int, sys.flags)]))"
FLAGS: Final = st.sampled_from(
    ["-I", "-u", "-E", "-s", "-B", "-O", "-q", "-Iu", "-X", "-W", "utf8", "ignore", "-OO", "-sB"]
)


@given(st.lists(FLAGS, max_size=4), st.lists(st.sampled_from(["a", "-c", "-m", "--", "-I"]), max_size=3))
def test_the_same_words_give_the_same_reading_in_pieces(flags: list[str], rest: list[str]) -> None:
    command = read_command((PYTHON, *flags, "-c", TELL, *rest))
    if command is not None and command.mode == "code" and command.target == TELL:
        assert (*command.interpreter, "-c", TELL, *command.argv[1:]) == (PYTHON, *flags, "-c", TELL, *rest)


@pytest.mark.parametrize("words", [["-I", "-u"], ["-sBO", "-X", "utf8"], ["-Wignore", "-E", "-q"]])
def test_its_flags_are_the_flags_that_python_sees(words: list[str]) -> None:
    command = read_command((PYTHON, *words, "-c", TELL, "x", "-y"))
    assert command is not None
    both = []
    for line in (
        [PYTHON, *words, "-c", TELL, "x", "-y"],
        [*command.interpreter, "-c", TELL, *command.argv[1:]],
    ):
        both.append(json.loads(subprocess.run(line, capture_output=True, timeout=WAIT_S, check=True).stdout))
    assert both[0] == both[1]
    assert both[0][0] == list(command.argv)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_no_words_stall_or_break_it(words: list[str]) -> None:
    command = read_command((PYTHON, *words))
    assert command is None or command.argv
