"""Packages that want code of their own run while they are fetched, by the ways that installers offer beside scripts.

What they start, wherever it stands, asks the registry for a path of its own: whatever was planted is removed with the
workplace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.real.registry import Registry, archive, registry, tarball, wheel

from sekisho.errors import Refused
from sekisho.install.installer import Installer, Tools
from sekisho.install.package import read_package
from sekisho.install.settings import InstallSettings
from sekisho.install.store import Store
from sekisho.sandbox import Bubblewrap

pytestmark = [pytest.mark.real, pytest.mark.threat("T-PACKAGE")]

needs_npm: Final = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
GIT: Final = shutil.which("git") or ""
needs_git: Final = pytest.mark.skipif(not GIT, reason="git is not installed")
RAN: Final = "/it-ran"
PROJECT: Final = b'[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n'
BACKEND: Final = """
import urllib.request
urllib.request.urlopen("{url}")
"""


@pytest.fixture
def liar() -> Iterator[Registry]:
    with registry() as held:
        held.files[RAN] = b"it ran"
        yield held


@pytest.fixture
async def installer(liar: Registry, tmp_path: Path) -> AsyncIterator[Installer]:
    async with Bubblewrap() as driver:
        yield Installer(
            driver=driver,
            store=Store(tmp_path / "home" / "packages"),
            settings=InstallSettings(
                pypi_index=f"{liar.url}/simple", npm_registry=f"{liar.url}/npm", allow_private_registry=True
            ),
            tools=Tools(
                python=sys.executable, runtime="test", search_path=os.environ.get("PATH"), ca_path=None
            ),
        )


def _serve_repository(liar: Registry, folder: Path, files: dict[str, bytes]) -> str:
    """A repository at the registry's own host, as plain files; returns its address."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "x"), ("update-server-info",)):
        subprocess.run([GIT, *words], cwd=folder, check=True, timeout=60, capture_output=True)
    for path in (folder / ".git").rglob("*"):
        if path.is_file():
            liar.files[f"/code/x.git/{path.relative_to(folder / '.git')}"] = path.read_bytes()
    return f"git+{liar.url}/code/x.git"


def _build_files(liar: Registry) -> dict[str, bytes]:
    return {"pyproject.toml": PROJECT, "evil.py": BACKEND.format(url=liar.url + RAN).encode()}


async def test_a_source_archive_that_a_wheel_names_by_its_address_is_not_built(
    installer: Installer, liar: Registry
) -> None:
    files = {f"part-1/{name}": content for name, content in _build_files(liar).items()}
    liar.files["/files/part-1.tar.gz"] = archive({**files, "part-1/PKG-INFO": b"Name: part\nVersion: 1\n"})
    needs = f"part @ {liar.url}/files/part-1.tar.gz"
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}, needs=needs), project="tool")
    with pytest.raises(Refused, match="no program may be started"):
        await installer.install("tool", read_package("pypi:tool==1.0"))
    assert RAN not in liar.asked


@needs_git
async def test_a_repository_that_a_wheel_names_is_not_built(
    installer: Installer, liar: Registry, tmp_path: Path
) -> None:
    address = _serve_repository(liar, tmp_path / "code", _build_files(liar))
    wanted = wheel("tool", "1.0", {}, needs=f"part @ {address}")
    liar.add_python("tool-1.0-py3-none-any.whl", wanted, project="tool")
    with pytest.raises(Refused):
        await installer.install("tool", read_package("pypi:tool==1.0"))
    assert RAN not in liar.asked


async def test_a_wheel_that_another_names_by_its_address_at_the_registry_is_taken_with_its_digest(
    installer: Installer, liar: Registry
) -> None:
    liar.files["/files/part-1-py3-none-any.whl"] = wheel("part", "1", {})
    needs = f"part @ {liar.url}/files/part-1-py3-none-any.whl"
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}, needs=needs), project="tool")
    done = await installer.install("tool", read_package("pypi:tool==1.0"))
    assert b"part==1 --hash=sha256:" in done.kept.lock


@needs_npm
@needs_git
async def test_a_repository_whose_settings_name_another_git_has_it_not_run(
    installer: Installer, liar: Registry, tmp_path: Path
) -> None:
    # npm prepares what it cloned by an npm of its own, which reads the settings of the clone.
    part = {
        "name": "part",
        "version": "1.0.0",
        "scripts": {"prepare": f"git ls-remote {liar.url}{RAN}"},
        "dependencies": {"part": f"git+{liar.url}/code/x.git#main"},
    }
    files = {
        "package.json": json.dumps(part).encode(),
        ".npmrc": b"git=./evil.sh\nignore-scripts=false\nallow-git=all\n",
        "evil.sh": f"#!/bin/sh\ngit ls-remote {liar.url}{RAN}\n".encode(),
    }
    needs = {"dependencies": {"part": _serve_repository(liar, tmp_path / "code", files)}}
    liar.add_npm("tool", "1.0.0", tarball("tool", "1.0.0", {}, **needs), told=needs)
    with pytest.raises(Refused):
        await installer.install("tool", read_package("npm:tool@1.0.0"))
    assert not [path for path in liar.asked if path.startswith((RAN, "/code"))]


@needs_npm
async def test_settings_that_a_package_of_the_registry_brings_are_no_obstacle(
    installer: Installer, liar: Registry
) -> None:
    files = {"package/.npmrc": b"git=./evil.sh\nignore-scripts=false\n"}
    needs = {"dependencies": {"part": "^1.0.0"}}
    liar.add_npm("tool", "1.0.0", tarball("tool", "1.0.0", files, **needs), told=needs)
    liar.add_npm("part", "1.0.0", tarball("part", "1.0.0", {}))
    assert (await installer.install("tool", read_package("npm:tool@1.0.0"))).kept.receipt.packages == 2
