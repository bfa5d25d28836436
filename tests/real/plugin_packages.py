"""The example packages, built and installed as a user would: into a fresh environment, without any network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def installed(folder: Path, project: str) -> Path:
    """A fresh environment with one example and sekisho itself, and nothing else: `sekisho.plugin` needs nothing else."""
    wheels, venv = folder / "wheels", folder / "venv"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-index", "--no-deps"]
    build = [sys.executable, "-m", "pip", "wheel", *quiet, "--no-build-isolation", "--wheel-dir", str(wheels)]
    uncompiled = {**os.environ, "HATCH_BUILD_NO_HOOKS": "true"}  # authors' part of us is interpreted anyway
    subprocess.run(
        [*build, str(ROOT), str(ROOT / "examples" / project)], check=True, timeout=300, env=uncompiled
    )
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    into = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", *quiet]
    subprocess.run([*into, *map(str, wheels.iterdir())], check=True, timeout=120)
    return venv
