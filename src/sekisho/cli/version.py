"""`sekisho version`."""

from __future__ import annotations

import platform

from sekisho import __version__
from sekisho.cli.compiled import is_compiled
from sekisho.cli.finding import Json
from sekisho.cli.saying import say, say_json

__all__ = ["version"]


def version(*, json: Json = False) -> int:
    """Print the version."""
    if json:
        say_json(
            {
                "sekisho": __version__,
                "modules": "compiled" if is_compiled() else "interpreted",
                "python": platform.python_version(),
                "machine": platform.machine(),
            }
        )
    else:
        say([__version__])
    return 0
