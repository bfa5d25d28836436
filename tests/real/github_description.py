"""GitHub's published OpenAPI description, as its npm package has it: fetched once, pinned by hash, cut to what is needed.

The cut is what three operations reach, with OpenAPI's `nullable` said in the words of JSON Schema; it stays in `.cache`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest

PACKAGE: Final = "@octokit/openapi@23.0.2"
SHA512: Final = "pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg=="
MEMBER: Final = "package/generated/api.github.com.json"
OPERATIONS: Final = (
    ("/user/repos", "get"),
    ("/users/{username}/repos", "get"),
    ("/repos/{owner}/{repo}/issues", "post"),
)
CACHE: Final = Path(__file__).parents[2] / ".cache" / "tests"


def description() -> Path:
    """The file that holds the cut; skips when the package cannot be had."""
    path = CACHE / f"github-openapi-{hashlib.sha256(SHA512.encode()).hexdigest()[:12]}.json"
    if not path.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed, and GitHub's description comes as an npm package")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            whole = _fetched(Path(folder))
            made = Path(folder, "cut.json")
            made.write_text(json.dumps(_cut(whole)))
            made.rename(path)
    return path


def _fetched(folder: Path) -> dict[str, Any]:
    command = ["npm", "pack", PACKAGE, "--pack-destination", str(folder), "--silent"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=folder)
    archives = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        pytest.skip(f"{PACKAGE} cannot be fetched: {done.stderr.strip()[-200:]}")
    with archives[0].open("rb") as file:
        found = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
    assert found == SHA512, f"{PACKAGE} is not the file that was pinned"
    with tarfile.open(archives[0]) as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None
        return dict(json.load(member))


def _cut(whole: dict[str, Any]) -> dict[str, Any]:
    paths = {path: {method: whole["paths"][path][method]} for path, method in OPERATIONS}
    made: dict[str, Any] = {"openapi": whole["openapi"], "paths": paths, "components": {}}
    waiting = _references(paths)
    while waiting:
        reference = waiting.pop()
        _, _, kind, name = reference.split("/")
        kept = made["components"].setdefault(kind, {})
        if name not in kept:
            kept[name] = whole["components"][kind][name]
            waiting |= _references(kept[name])
    return dict(_plain(made))


def _references(node: Any) -> set[str]:
    found: set[str] = set()
    level = [node]
    while level:
        one = level.pop()
        if isinstance(one, dict):
            reference = one.get("$ref")
            if isinstance(reference, str):
                found.add(reference)
            level += one.values()
        elif isinstance(one, list):
            level += one
    return found


def _plain(node: Any) -> Any:
    """`nullable` as JSON Schema says it."""
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {key: _plain(value) for key, value in node.items() if key != "nullable"}
    if node.get("nullable") is not True or not made.keys() & {
        "type",
        "$ref",
        "oneOf",
        "anyOf",
        "allOf",
        "enum",
    }:
        return made
    return {"anyOf": [made, {"type": "null"}]}
