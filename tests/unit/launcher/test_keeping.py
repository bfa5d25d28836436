"""What keeps a container from outliving its owner: it waits for an end, and then does one thing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sekisho.launcher import keeping

WAIT_S = 20


def test_the_command_runs_when_the_other_end_is_closed_and_not_before(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    marker = tmp_path / "done"
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", keeping.__file__, str(reading), "touch", str(marker)],
        pass_fds=(reading,),
    )
    os.close(reading)
    os.write(writing, b"still here")
    assert keeper.poll() is None
    assert not marker.exists()
    os.close(writing)
    assert keeper.wait(WAIT_S) == 0
    assert marker.exists()
