"""The program `sekisho`, also as `python -m sekisho`.

Guarantees that Ctrl-C while Python still reads the command line's modules ends the process as Ctrl-C does, without a
traceback. Above it there is only the person; below it, `cli`.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line that was typed; returns its exit status."""
    typed = signal.getsignal(signal.SIGINT)
    if typed is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sekisho.cli import main as run  # noqa: PLC0415 - a quarter of a second, in which nothing has begun

    signal.signal(signal.SIGINT, typed)
    return run()


if __name__ == "__main__":
    sys.exit(main())
