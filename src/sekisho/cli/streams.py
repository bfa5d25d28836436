"""Standard input, output and error, where whoever started us closed one of them.

Guarantees that each of the three stands before anything is opened, here and in what we start: else the next file, a log
or a key, would get its number and be read or written as if it were the terminal, and uvloop ends the process. Judges
nothing.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Final

__all__ = ["open_missing"]

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_missing() -> None:
    """Put /dev/null in the place of those that are closed."""
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # The kernel gives the lowest number that is free: this one. What we start needs it as much as we do.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper) and mode == "w":
            stream.reconfigure(
                errors="backslashreplace"
            )  # a terminal of an old alphabet shows the rest by number
        if stream is None:  # how Python says that it found it closed
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
