"""Words typed by a person: each command parses, calls one function of a room, and prints.

Guarantees that results go to standard output and diagnostics to standard error, that the exit status says how
it went (0 done, 1 refused or failed check, 2 usage or configuration error), and that no traceback is ever
printed. Environment variables are read here and nowhere else.
"""

from sekisho.cli.app import main

__all__ = ["main"]
