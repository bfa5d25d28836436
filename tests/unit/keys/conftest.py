"""What the tests of `keys` share: one instant, one authority, one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.keys import KeyFolder, Role, SpiffeId

NOW = 1_800_000_000.0


@pytest.fixture
def now() -> float:
    return NOW


@pytest.fixture
def core() -> SpiffeId:
    return SpiffeId(trust_domain="example.org", role=Role.CORE, name="main")


@pytest.fixture
def plugin() -> SpiffeId:
    return SpiffeId(trust_domain="example.org", role=Role.PLUGIN, name="wordpress")


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    opened = KeyFolder(tmp_path / "keys", "example.org")
    opened.ensure_authority(NOW)
    return opened
