"""Writes docs/reference/cli.md from the help of every command, so that page and `--help` cannot disagree."""

from __future__ import annotations

import io
from typing import Final

from rich.console import Console

from sekisho.cli.app import COMMANDS, app_for

__all__ = ["reference"]

WIDTH: Final = 100

_OPENING: Final = """# Command line

Generated from the commands themselves; a test keeps it equal to `--help`. Results go to standard output,
diagnostics to standard error. Exit status: 0 done, 1 refused or failed check, 2 usage or configuration error,
130 interrupted by Ctrl-C; what runs until it is stopped, such as `sekisho up`, ends with 0 then. A reader that
leaves early is no error.
With `--json` an error is one line `{"error": {"code", "message", "remedy"}}` on standard error.

The configuration file is `--config`, else `sekisho.toml` in the current folder. The home folder is
`$SEKISHO_HOME`, else `home` in the file, else the user's data folder.
"""


def reference() -> str:
    """The whole page."""
    pages = [("sekisho", _help(()))]
    pages += [(f"sekisho {words}", _help(tuple(words.split()))) for words in COMMANDS]
    return _OPENING + "".join(f"\n## {title}\n\n```text\n{text}\n```\n" for title, text in pages)


def _help(words: tuple[str, ...]) -> str:
    page = io.StringIO()
    console = Console(file=page, width=WIDTH, force_terminal=False, color_system=None)
    app_for(words).help_print(list(words), console=console)
    return "\n".join(line.rstrip() for line in page.getvalue().strip("\n").split("\n"))
