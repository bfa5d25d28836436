"""Scenes, each played once for all tests of a run, in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import dev
from tests.real.escape.drivers import DRIVERS

__all__ = ["OURS", "impediment", "lacking", "played", "working"]

SCENE_S: Final = 180.0
IP: Final = "/bin/ip"


def _ours() -> Iterator[tuple[str, str]]:
    for name, claim in DRIVERS.items():
        for who in claim.whos:
            yield name, who


OURS: Final = tuple(_ours())


def lacking(driver: str) -> str:
    """Which programs this driver stands on are not here."""
    path = os.environ["PATH"] + ":/usr/sbin"
    missing = [name for name in DRIVERS[driver].needs if shutil.which(name, path=path) is None]
    return f"not on this machine: {', '.join(missing)}" if missing else ""


def impediment(where: str) -> str:
    """Why this scene cannot be played here; empty when it can."""
    if os.geteuid() != 0:
        return "the stage needs root: it makes namespaces for a whole world"
    if not os.access(IP, os.X_OK):
        return "the private internet needs ip (Debian package iproute2)"
    return lacking(where) if where in DRIVERS else ""


@functools.cache
def played(where: str, who: str, patience: float = 1.0) -> dict[str, dict[str, Any]]:
    """What every probe could do there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.real.escape.stage"], cwd=dev.ROOT, timeout=SCENE_S * patience, check=False,
        input=json.dumps({"where": where, "who": who, "patience": patience}), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{where} as {who}: {done.stderr[-3000:]}")
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def working(where: str, who: str, patience: float = 1.0) -> dict[str, str]:
    """Every probe that succeeded, and its words."""
    found = played(where, who, patience)
    return {id_: one["detail"] for id_, one in found.items() if one["works"]}
