"""Starts the server, whether it was called as a module or by the path of this folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if not __package__:  # run by its path: the folder is a package of its own, wherever it lies
    _FOLDER = Path(__file__).resolve().parent
    sys.path[0] = str(_FOLDER.parent)
    __package__ = _FOLDER.name

if __name__ == "__main__":
    importlib.import_module(f"{__package__}.program").main(sys.argv[1:])
