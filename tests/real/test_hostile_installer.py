"""A package manager that was taken over by what it read: inside its walls it does as it likes, and no more."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Final

import pytest

from sekisho.errors import Refused
from sekisho.install.installer import Installed, Installer, Tools
from sekisho.install.package import read_package
from sekisho.install.settings import InstallSettings
from sekisho.install.store import Store
from sekisho.sandbox import Bubblewrap

pytestmark = pytest.mark.real

LOCK: Final = json.dumps(
    {
        "lockfileVersion": 3,
        "packages": {
            "node_modules/tool": {
                "version": "1.0.0",
                "integrity": f"sha512-{base64.b64encode(bytes(64)).decode()}",
            }
        },
    }
)
MADE: Final = json.dumps({"name": "tool", "version": "1.0.0", "bin": "cli.js"})
# An npm that writes a lock, fetches nothing, and unpacks a tree of one program.
NPM: Final = f"""#!/bin/sh
set -e
case "$*" in
*--package-lock-only*) printf '%s' '{LOCK}' > package-lock.json ;;
*--offline*) mkdir -p node_modules/tool; cd node_modules/tool; printf '%s' '{MADE}' > package.json; : > cli.js ;;
*) {{attack}} ;;
esac
"""


async def _install(tmp_path: Path, attack: str) -> Installed:
    """What comes of an installation by an npm that does this where it fetches."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "npm").write_text(NPM.replace("{attack}", attack))
    (programs / "npm").chmod(0o755)
    async with Bubblewrap() as driver:
        installer = Installer(
            driver=driver,
            store=Store(tmp_path / "home" / "packages"),
            settings=InstallSettings(),
            tools=Tools(
                python=sys.executable,
                runtime="test",
                search_path=f"{programs}:{os.environ.get('PATH', '')}",
                ca_path=None,
            ),
        )
        return await installer.install("tool", read_package("npm:tool@1.0.0"))


async def test_an_honest_npm_installs(tmp_path: Path) -> None:
    assert (await _install(tmp_path, ":")).is_new


@pytest.mark.threat("T-PACKAGE")
@pytest.mark.parametrize(
    "attack",
    [
        "rmdir ../tree; ln -s {victim} ../tree",
        "rmdir ../tree; ln -s {victim} ../tree; ln -s {victim}/requirements.txt ../requirements.txt",
        "ln -s {victim}/requirements.txt ../requirements.txt",
        "ln -s {victim}/package.json ../tree/package.json",
        "mv ../files ../kept; ln -s {victim} ../files",
    ],
)
async def test_an_npm_that_was_taken_over_has_nothing_of_the_host_written(
    tmp_path: Path, attack: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    with contextlib.suppress(Refused):  # what matters is what it left
        await _install(tmp_path, attack.replace("{victim}", str(victim)))
    assert not list(victim.iterdir())
    assert victim.stat().st_mode & 0o200


@pytest.mark.threat("T-PACKAGE")
@pytest.mark.parametrize(
    "attack",
    [
        "rm package-lock.json; mkfifo package-lock.json",
        "rm package-lock.json; ln -s {secret} package-lock.json",
        "cd ..; rm -r trial; ln -s {folder} trial",
    ],
)
async def test_an_npm_that_was_taken_over_has_nothing_of_the_host_read(tmp_path: Path, attack: str) -> None:
    folder = tmp_path / "secret"
    folder.mkdir()
    secret = folder / "package-lock.json"
    secret.write_text(LOCK)
    with pytest.raises(Refused):
        await _install(tmp_path, attack.replace("{secret}", str(secret)).replace("{folder}", str(folder)))
    assert secret.exists()
