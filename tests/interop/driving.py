"""Runs the script of one client in its own environment and reads its report.

The script is given an address, a token and the authority to trust, as a person would give them; nothing else of ours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.interop.gateway import SEKISHO, Gateway
from tests.interop.subjects import Client, Place

__all__ = ["drive"]

ROOT: Final = Path(__file__).resolve().parents[2]
DRIVERS: Final = Path(__file__).resolve().parent / "drivers"
DRIVER_S: Final = 110  # five steps of at most twenty seconds, and a slow import


def drive(
    client: Client, gateway: Gateway, place: Place, sets: dict[str, Path], home: Path
) -> dict[str, Any]:
    """Run one client in front of the plugin `everything`; what it reports."""
    environment = {
        **os.environ,
        "HOME": str(home),  # some keep files there
        "PYTHONPATH": str(ROOT),
        "SEKISHO_TOKEN": gateway.token,
        "SEKISHO_TOKEN_FILE": str(gateway.token_file),
        "SEKISHO_PROGRAM": str(SEKISHO),
        "SEKISHO_CA": str(gateway.ca),
        "SSL_CERT_FILE": str(gateway.ca),
        "NODE_EXTRA_CA_CERTS": str(gateway.ca),
        "SEKISHO_NODE": str(place.node),
        "SEKISHO_CLIENTS": str(sets["node-clients"]),
    }
    done = subprocess.run(
        [*_program(client, place, sets), gateway.url("everything"), *client.words],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=DRIVER_S,
    )
    assert done.returncode == 0, f"{client.name}: {done.stderr[-3000:]}\n{gateway.said()}"
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _program(client: Client, place: Place, sets: dict[str, Path]) -> list[str]:
    if client.driver.endswith(".py"):
        python = sets[client.set_name] / "bin" / "python" if client.set_name else Path(sys.executable)
        return [str(python), str(DRIVERS / client.driver)]
    beside = sets[client.set_name] / "drivers"  # a module finds its packages from where it lies
    shutil.copytree(DRIVERS, beside, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return [str(place.node), str(beside / client.driver)]
