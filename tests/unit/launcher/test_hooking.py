"""The hook adds one word to a container's configuration, and leaves the rest as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from sekisho.launcher import hooking

WAIT_S = 20


def asked(configuration: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-I", "-S", hooking.__file__, "/somewhere/alarm"]
    return subprocess.run(
        words, input=json.dumps(configuration), capture_output=True, text=True, timeout=WAIT_S, check=False
    )


def test_the_listener_is_named_and_nothing_else_changes() -> None:
    before = {
        "process": {"args": ["x"]},
        "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO"}, "devices": []},
    }
    after = json.loads(asked(before).stdout)
    assert after["linux"]["seccomp"].pop("listenerPath") == "/somewhere/alarm"
    assert after == before


def test_a_container_without_a_filter_is_not_made() -> None:
    ended = asked({"linux": {}})
    assert ended.returncode != 0
    assert ended.stdout == ""
