"""Python environments of the peers, each its own under `.cache/bench-<name>`, from a file of pinned versions."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from bench.processes import BenchFailed

__all__ = ["environment"]

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache"
INSTALL_S = 900
# The interpreter this one was made from: it has pip, our own environment does not.


def environment(name: str) -> Path:
    """Its `bin` folder; installed on first use and whenever the pinned versions change."""
    pinned = HERE / "requirements" / f"{name}.txt"
    wanted = hashlib.sha256(pinned.read_bytes() + sys.version.encode()).hexdigest()
    folder = CACHE / f"bench-{name}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"bench-{name}.lock").open(
        "w"
    ) as lock:  # two runs at once must not install over each other
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = folder / ".sekisho-stamp"
        if not mark.exists() or mark.read_text() != wanted:
            _install(folder, pinned)
            mark.write_text(wanted)
    return folder / "bin"


def _install(folder: Path, pinned: Path) -> None:
    print(f"· installing {folder.name} (once) …", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=False, symlinks=True)
    into = ["--python", str(folder / "bin" / "python"), "install", "--requirement", str(pinned)]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    command = [sys.executable, "-m", "pip", *into, *quiet]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchFailed(f"cannot install {pinned.name}: {error}") from error
    if done.returncode != 0:
        raise BenchFailed(f"cannot install: {' '.join(command)}: {done.stderr.strip()[-300:]}")
