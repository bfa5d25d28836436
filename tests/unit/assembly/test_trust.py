"""Whose tokens are believed, from one configuration and one start to the next."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.issuing import ISSUER

from sekisho.assembly.trust import Trust
from sekisho.config import load_core
from sekisho.errors import Misconfigured
from sekisho.gateway import SharedMemory
from sekisho.keys import KeyFolder

TABLE = f"""
[auth]
resource = "https://gate.example.com"

[[auth.issuers]]
name = "corp"
issuer = "{ISSUER}"
"""


def trust(tmp_path: Path, text: str = TABLE, memory: SharedMemory | None = None) -> Trust:
    """As the core makes it at each start."""
    path, run = tmp_path / "sekisho.toml", tmp_path / "run"
    path.write_text(text, encoding="utf-8")
    run.mkdir(mode=0o700, exist_ok=True)
    keys = KeyFolder(tmp_path / "keys", "example.org")
    return Trust(load_core(path), keys, memory, run=run, issuer_failed=lambda _issuer, _error: None)


@pytest.mark.threat("T-TOKEN-STOLEN")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_proof_that_was_shown_is_refused_after_a_restart(tmp_path: Path, workers: int) -> None:
    now = time.time()
    for start, proofs in enumerate((["a", "b"], ["b", "c"])):
        memory = SharedMemory(tmp_path, 0, workers) if workers > 1 else None
        held = trust(tmp_path, memory=memory)
        assert held.replay is not None
        admitted = [held.replay.admit("key", proof, now) for proof in proofs]
        assert admitted == ([True, True] if start == 0 else [False, True])
        held.close()
        if memory is not None:
            memory.close()


def test_without_issuers_nothing_is_kept(tmp_path: Path) -> None:
    held = trust(tmp_path, "")
    assert held.replay is None
    assert not list((tmp_path / "run").iterdir())
    held.close()


def test_two_gateways_of_one_home_do_not_remember_apart(tmp_path: Path) -> None:
    held = trust(tmp_path)
    with pytest.raises(Misconfigured, match="runs already"):
        trust(tmp_path)
    held.close()
    trust(tmp_path).close()
