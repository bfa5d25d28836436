"""Reads a plugin's command the way Python would: is it a Python program, and what would the interpreter do with it?

Guarantees that a command is taken for a Python program only when every word of it is understood; anything else is None
and starts in the ordinary way. A command that is understood names the interpreter with its own flags, so that whoever
runs them gets the same `sys.flags`, the same `site` and the same packages.

Reads the file system, writes and starts nothing. Judges no grant.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

__all__ = ["PythonCommand", "read_command", "uses_sdk"]

Mode = Literal["file", "module", "code"]

MAX_SCRIPT_BYTES: Final = 1 << 20
_PYTHON: Final = re.compile(r"python3?(\.\d+)?")
_FLAGS: Final = frozenset("bBdEIOPqsSuv")  # change how Python runs, and take no value
_WITH_VALUE: Final = frozenset("WX")
_SDK: Final = re.compile(rb"^[ \t]*(?:from|import)[ \t]+(?:mcp|fastmcp)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonCommand:
    """`interpreter` with its flags, then what it is to run and the `sys.argv` it gives it.

    `words` are the whole command as the kernel hands it to the interpreter.
    """

    words: tuple[str, ...]
    interpreter: tuple[str, ...]
    mode: Mode
    target: str
    argv: tuple[str, ...]


def read_command(argv: tuple[str, ...]) -> PythonCommand | None:
    """A command whose first word is an absolute path, as Python would read it."""
    program, *rest = argv
    if _is_python(program):
        return _read_words(program, rest)
    line = _first_line(program)
    if not line.startswith(b"#!"):
        return None
    words = line[2:].decode("utf-8", "replace").split()
    # Linux gives everything behind the interpreter as one word; with more than one we would read it differently.
    if not words or len(words) > 2 or not _is_python(words[0]):
        return None
    return _read_words(words[0], [*words[1:], program, *rest])


def uses_sdk(command: PythonCommand, folder: str) -> bool:
    """Whether the SDK is worth importing before it starts: a script says so; of anything else it is supposed."""
    if command.mode != "file":
        return True
    path = Path(folder, command.target)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SCRIPT_BYTES)
    except OSError:
        return False
    return _SDK.search(text) is not None or path.parent.name == "bin"


def _read_words(interpreter: str, words: list[str]) -> PythonCommand | None:
    whole = (interpreter, *words)
    flags: list[str] = []
    while words:
        word = words.pop(0)
        if word == "-" or word.startswith("--") or word.endswith((".pyc", ".zip", ".pyz")):
            return None
        if not word.startswith("-"):
            return PythonCommand(
                words=whole, interpreter=(interpreter, *flags), mode="file", target=word, argv=(word, *words)
            )
        for place, letter in enumerate(word[1:], start=1):
            if letter in _FLAGS:
                continue
            value = word[place + 1 :]
            if letter in _WITH_VALUE:
                if not value and not words:
                    return None
                flags += [word] if value else [word, words.pop(0)]
                break
            if letter not in "cm" or not (value or words):
                return None
            target = value or words.pop(0)
            before = [word[:place]] if place > 1 else []
            return PythonCommand(
                words=whole,
                interpreter=(interpreter, *flags, *before),
                mode="module" if letter == "m" else "code",
                target=target,
                argv=(f"-{letter}", *words),
            )
        else:
            flags.append(word)
    return None


def _is_python(program: str) -> bool:
    """CPython by the name of the file that the path leads to; a wrapper script has another, or a first line."""
    real = os.path.realpath(program)
    named = _PYTHON.fullmatch(PurePosixPath(real).name) is not None
    return named and not _first_line(real).startswith(b"#!")


def _first_line(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.readline(4096)
    except OSError:
        return b""
