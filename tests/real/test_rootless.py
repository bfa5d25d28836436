"""What `sekisho doctor` tells an ordinary user whose podman cannot work yet, and that doing it is enough."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

import dev
import pytest
from tests.real.escape.played import impediment

pytestmark = [pytest.mark.real, pytest.mark.requirement("B8")]

SCENE_S: Final = 120.0


def test_the_doctor_names_the_range_that_is_missing_and_with_it_podman_works() -> None:
    if missing := impediment("oci"):
        pytest.skip(missing)
    words = [sys.executable, "-m", "tests.real.rootless", "doctor"]
    ended = subprocess.run(words, cwd=dev.ROOT, timeout=SCENE_S, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    before, after = json.loads(ended.stdout)
    assert not before["ok"]
    assert before["detail"] == "podman: no range of users is lent to prisoner in /etc/subuid and /etc/subgid"
    assert before["fix"] == (
        "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 prisoner, then podman system migrate"
    )
    assert after["ok"], after
    assert after["detail"].startswith("podman answers; ")
