"""Our own upstream and load generator, compiled on first use and whenever their source changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from bench.processes import BenchFailed

__all__ = ["LOAD", "SCRIPTS", "UPSTREAM", "build_tools"]

HERE = Path(__file__).resolve().parent
SOURCE, SCRIPTS = HERE / "native", HERE / "scripts"
TARGET = HERE.parent / ".cache" / "bench-native"
UPSTREAM = (
    TARGET / "bench-upstream"
)  # also the name by which its processes are known and left out of all sums
LOAD = TARGET / "bench-load"
COMPILER = ("gcc", "-O2", "-Wall", "-Wextra")
NEEDS = "apt-get install gcc libc6-dev libssl-dev"


def build_tools() -> None:
    """Compile what is not there yet."""
    _build(UPSTREAM, "upstream.c")
    _build(LOAD, "load.c", "-lssl", "-lcrypto")


def _build(program: Path, source: str, *libraries: str) -> None:
    sources = b"".join((SOURCE / name).read_bytes() for name in (source, "bytes.h"))
    wanted = hashlib.sha256(sources + repr((COMPILER, libraries)).encode()).hexdigest()
    mark = program.with_suffix(".sha256")
    if program.exists() and mark.exists() and mark.read_text() == wanted:
        return
    if shutil.which(COMPILER[0]) is None:
        raise BenchFailed(f"the benchmark's own tools are written in C and there is no gcc: {NEEDS}")
    program.parent.mkdir(parents=True, exist_ok=True)
    fresh = program.with_name(
        f"{program.name}.{os.getpid()}"
    )  # a running program is replaced, never written to
    command = [*COMPILER, "-o", str(fresh), str(SOURCE / source), *libraries]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"{source} does not compile ({NEEDS}):\n{done.stderr[-1500:]}")
    fresh.replace(program)
    mark.write_text(wanted)
