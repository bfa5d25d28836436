"""Revisions of MCP."""

from __future__ import annotations

import pytest

from sekisho.protocol import LEGACY, MODERN, SUPPORTED, VersionUnsupported, negotiate


@pytest.mark.parametrize("version", LEGACY)
def test_a_legacy_revision_is_answered_as_requested(version: str) -> None:
    assert negotiate(version) == version


@pytest.mark.parametrize("version", ["2026-07-28", "2031-01-01", "1.0", ""])
def test_any_other_revision_is_answered_with_the_newest_legacy_one(version: str) -> None:
    assert negotiate(version) == "2025-11-25"


def test_revisions_stand_newest_first() -> None:
    assert tuple(sorted(SUPPORTED, reverse=True)) == SUPPORTED == MODERN + LEGACY


def test_an_unsupported_version_is_kept_short() -> None:
    assert len(VersionUnsupported("9" * 1000).requested) == 64
