"""The suite's authorization extensions against our OAuth client alone: the gateway adds nothing to them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conformance.suite import command, outcomes

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parents[1] / "real" / "oauth_plain_client.py"
SCENARIO_S = 180
SCENARIOS = [
    "auth/client-credentials-basic",
    "auth/client-credentials-jwt",
    "auth/dpop",
    "auth/dpop-nonce",
    "auth/enterprise-managed-authorization",
    "auth/wif-jwt-bearer",
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_our_client_passes_an_extension(scenario: str, tmp_path: Path) -> None:
    program = shlex.join([sys.executable, str(PROGRAM)])
    line = command("client", "--command", program, "--scenario", scenario, "-o", str(tmp_path / "out"))
    subprocess.run(line, cwd=tmp_path, capture_output=True, check=False, timeout=SCENARIO_S)
    found = outcomes(tmp_path / "out")
    assert len(found) == 1
    outcome = next(iter(found.values()))
    assert outcome.is_passed, outcome.failures
    assert not outcome.warnings
