from __future__ import annotations

import subprocess
import sys

import pytest

LOOK = """
import os, sys
from sekisho.cli.streams import open_missing
open_missing()
numbers = [stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)]
print("said")
sys.exit(0 if numbers == [0, 1, 2] and os.open("/dev/null", os.O_RDONLY) > 2 else 1)
"""


@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_stream_that_was_closed(closed: str) -> None:
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, LOOK]
    ended = subprocess.run(command, check=False, timeout=60, stdout=subprocess.PIPE)
    assert ended.returncode == 0
    assert ended.stdout == (b"" if ">&-" in closed.split() else b"said\n")


INHERITED = """
import os, subprocess, sys
from sekisho.cli.streams import open_missing
open_missing()
look = "import os; [os.fstat(number) for number in range(3)]"
sys.exit(subprocess.run([sys.executable, "-c", look], close_fds=True).returncode)
"""


@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "<&- >&- 2>&-"])
def test_what_is_started_has_them_too(closed: str) -> None:
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, INHERITED]
    assert subprocess.run(command, check=False, timeout=60, stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_a_command_ends_well_without_them(closed: str) -> None:
    main = "import sys; from sekisho.cli.app import main; sys.exit(main(['version']))"
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, main]
    assert subprocess.run(command, check=False, timeout=60, stdout=subprocess.DEVNULL).returncode == 0


def test_a_letter_that_the_terminal_does_not_know_is_shown_by_number() -> None:
    look = "from sekisho.cli.streams import open_missing\nopen_missing()\nprint('caf\\u00e9 \\u95a2')"
    ended = subprocess.run(
        [sys.executable, "-c", look],
        check=True,
        timeout=60,
        capture_output=True,
        env={"PYTHONIOENCODING": "latin-1"},
    )
    assert ended.stdout == b"caf\xe9 \\u95a2\n"
