"""What the benchmark starts ends with it, however it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = [pytest.mark.real]

ROOT: Final = Path(__file__).resolve().parents[2]
WAIT_S: Final = 20.0
DRIVER: Final = """
import signal, sys
from pathlib import Path
from bench.processes import running
server = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
with running([sys.executable, "-c", server], Path(sys.argv[1])) as process:
    print(process.stdout.readline().decode().strip(), flush=True)
    if sys.argv[2] == "stay":
        signal.pause()
"""


def _gone(handle: int) -> bool:
    ready, _, _ = select.select([handle], [], [], WAIT_S)
    return bool(ready)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_of_a_benchmark_that_is_killed_ends_too(tmp_path: Path, number: signal.Signals) -> None:
    words = [sys.executable, "-c", DRIVER, str(tmp_path / "log"), "stay"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        handle = os.pidfd_open(int(driver.stdout.readline()))
        try:
            driver.send_signal(number)
            driver.wait(WAIT_S)
            assert _gone(handle)
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)


def test_a_server_of_a_benchmark_that_is_done_has_ended(tmp_path: Path) -> None:
    words = [sys.executable, "-c", DRIVER, str(tmp_path / "log"), "leave"]
    ended = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=60)
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)
