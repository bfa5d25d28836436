"""Runs every probe in a child of its own and prints one JSON object: a crash or a hang loses one probe, not the rest."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.real.escape.inside.kit import PROBES, NotHere, Probe, There, know, patient

PROBE_S: Final = 20.0  # the slowest asks a dozen names through the door
MAX_ANSWER_BYTES: Final = 2000
RUNS_BESIDE: Final = "N11"  # serves while the others run: somebody outside tries to come in


def conduct(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Try everything that was asked for."""
    there = There(numbers=config["numbers"], digests=frozenset(config["digests"]), at=config["at"])
    know(there)
    chosen = [one for one in PROBES.values() if not config["only"] or one.id in config["only"]]
    return {one.id: _tried(one, there) for one in _ordered(chosen)}


def _ordered(chosen: Iterable[Probe]) -> list[Probe]:
    return sorted(chosen, key=lambda one: one.id != RUNS_BESIDE)


def _tried(one: Probe, there: There) -> dict[str, Any]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(one, there, writer)
    os.close(writer)
    try:
        answer, is_over = _read(reader)
    finally:
        os.close(reader)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if answer:
        found: dict[str, Any] = json.loads(answer)
        return found
    how = "it hung" if not is_over else f"it died: status {os.waitstatus_to_exitcode(status)}"
    return {"works": False, "detail": how}


def _child(one: Probe, there: There, writer: int) -> None:
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 2)
    try:
        detail = one.attack(there)
        found = {"works": bool(detail), "detail": detail or "nothing was gained"}
    except NotHere as error:
        found = {"works": False, "detail": str(error), "absent": True}
    except Exception as error:  # noqa: BLE001 - whatever stops an attack is the answer
        found = {"works": False, "detail": f"{type(error).__name__}: {error}"[:200]}
    os.write(writer, json.dumps(found).encode())
    os._exit(0)


def _read(reader: int) -> tuple[bytes, bool]:
    data, end = b"", time.monotonic() + patient(PROBE_S)
    while len(data) < MAX_ANSWER_BYTES:
        if not select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
            return b"", False
        chunk = os.read(reader, MAX_ANSWER_BYTES)
        if not chunk:
            break
        data += chunk
    return data, True


def main(config: Mapping[str, Any]) -> None:
    """The whole life of the program inside."""
    sys.stdout.write(json.dumps(conduct(config)) + "\n")
    sys.stdout.flush()
