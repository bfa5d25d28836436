"""`version`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sekisho import __version__


def test_the_version_is_printed(typed: Callable[..., Any]) -> None:
    assert typed("version").out == f"{__version__}\n"
    assert typed("version", "--json").json["sekisho"] == __version__
