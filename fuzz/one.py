"""One target under libFuzzer, in a process of its own: `python -m fuzz.one TARGET [libFuzzer arguments]`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["sekisho"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
