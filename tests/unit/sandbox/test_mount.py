"""The word that every driver renders in its own way."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from sekisho.sandbox import plan
from sekisho.sandbox.mount import Mount


def test_a_mount_is_a_value_that_nobody_changes() -> None:
    mount = Mount(kind="read", path="/usr", source="/usr")
    assert mount == Mount(kind="read", path="/usr", source="/usr")
    with pytest.raises(FrozenInstanceError):
        mount.kind = "write"  # type: ignore[misc]  # that is the point
    assert plan is not None
