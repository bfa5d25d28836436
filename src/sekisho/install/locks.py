"""The lock of a package: every file it is made of, by digest. Written for Python, judged for both.

- A Python lock is a list of `name==version --hash=sha256:…` lines, one for each wheel, sorted; nothing else.
- An npm lock is npm's own; every package in it stands in its place, has a plain version, comes from the registry and
  has a SHA-512 digest, or comes inside another one's file. A dependency that comes from elsewhere (git, a URL, a folder,
  also where its version says so) is refused: nobody could say later what it was.
- The package that was asked for is in the lock, in exactly the version asked for: a registry that answers another one
  is refused.

Judgement only, of what a registry said.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sekisho.errors import Refused, RemoteProtocolError, Tampered
from sekisho.install.package import PackageSpec, normal_python_name
from sekisho.protocol import JsonLimits, check_text

__all__ = [
    "LIMITS",
    "Wheel",
    "check_npm_lock",
    "check_python_lock",
    "is_same_release",
    "read_wheel_name",
    "write_python_lock",
]

SHA512_BYTES: Final = 64
MAX_LOCK_BYTES: Final = 32 << 20
LIMITS: Final = JsonLimits(
    max_bytes=MAX_LOCK_BYTES, max_members=5_000_000
)  # of whatever JSON a package brings
_WHEEL: Final = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._]*)-([A-Za-z0-9_.!+]+)(-[0-9][A-Za-z0-9_.]*)?-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+\.whl",
    re.ASCII,
)
_LINE: Final = re.compile(r"([a-z0-9][a-z0-9-]*)==([A-Za-z0-9_.!+]+) --hash=sha256:([0-9a-f]{64})", re.ASCII)
_NPM_NAME: Final = r"(?:@[^/\s]+/)?[^/.@\s][^/\s]*"
_NPM_PLACE: Final = re.compile(rf"node_modules/{_NPM_NAME}(/node_modules/{_NPM_NAME})*")
_NPM_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*", re.ASCII)
_NPM_LOCKS: Final = (2, 3)  # the older one names its files elsewhere
_HEAD: Final = "# Every wheel of one package, written by sekisho install. Do not edit.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One wheel, as its file name states it, and the digest of what was received."""

    name: str
    version: str
    sha256: str


def read_wheel_name(file_name: str, sha256: str) -> Wheel:
    """Read the name of a downloaded file.

    Raises:
        Refused: it is no wheel.
    """
    found = _WHEEL.fullmatch(file_name)
    if found is None:
        raise Refused("package_refused", f"the registry gave a file that is no wheel: {file_name[:80]!a}")
    return Wheel(name=normal_python_name(found[1]), version=found[2].replace("_", "-"), sha256=sha256)


def write_python_lock(wheels: Iterable[Wheel]) -> bytes:
    """The one spelling of a set of wheels."""
    lines = sorted(f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in wheels)
    return (_HEAD + "".join(lines)).encode()


def check_python_lock(content: bytes, package: PackageSpec) -> int:
    """Is this a lock of ours, with the package that was asked for? Returns the number of wheels.

    Raises:
        Tampered: it was not written by `write_python_lock`.
        Refused: it lacks the package, or has another version of it.
    """
    head, lines = (
        content[: len(_HEAD)].decode("ascii", "replace"),
        content[len(_HEAD) :].decode("ascii", "replace"),
    )
    wheels: list[Wheel] = []
    for line in lines.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            raise Tampered("package_tampered", "the lock of the package is not as it was written")
        wheels.append(Wheel(name=found[1], version=found[2], sha256=found[3]))
    if head != _HEAD or write_python_lock(wheels) != content:
        raise Tampered("package_tampered", "the lock of the package is not as it was written")
    names = [one.name for one in wheels]
    if len(set(names)) != len(names):
        raise Refused("package_refused", "the registry gave two versions of one package")
    wanted = normal_python_name(package.name)
    versions = {one.name: one.version for one in wheels}
    if not is_same_release(versions.get(wanted, ""), package.version):
        raise Refused(
            "package_refused",
            f"the registry gave {wanted} {versions.get(wanted, 'not at all')} for {package}",
        )
    return len(wheels)


def check_npm_lock(content: bytes, package: PackageSpec) -> int:
    """Is every package of this lock from the registry and of one content? Returns their number.

    Raises:
        Refused: it is not, or the package that was asked for is not in it.
    """
    if len(content) > MAX_LOCK_BYTES:
        raise Refused("package_refused", "the lock of the package is too long")
    try:
        check_text(content, LIMITS)
        lock: Any = json.loads(content)
        packages = lock["packages"]
        items = [(path, entry) for path, entry in packages.items() if path]
        own = packages[f"node_modules/{package.name}"]["version"]
        for path, entry in items:
            _check_npm_entry(path, entry)
    except (RemoteProtocolError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused("package_refused", "npm's lock of the package cannot be read") from error
    if lock.get("lockfileVersion") not in _NPM_LOCKS:
        raise Refused("package_refused", "npm's lock of the package is of a kind that is not known")
    if own != package.version:
        raise Refused("package_refused", f"the registry gave {package.name} {ascii(own)[:40]} for {package}")
    return len(items)


def is_same_release(one: str, other: str) -> bool:
    """Are these two spellings of one version of a Python package?"""
    return _release(one) == _release(other)


def _check_npm_entry(path: str, entry: dict[str, Any]) -> None:
    place, version = _NPM_PLACE.fullmatch(path), entry.get("version")
    is_plain = isinstance(version, str) and _NPM_VERSION.fullmatch(version) is not None
    if place is None or not is_plain or entry.get("link") or "resolved" in entry:
        raise Refused("package_refused", f"a dependency does not come from the registry: {path[:80]!a}")
    if entry.get("inBundle") is True and place[1]:
        return  # it comes inside the file of the package around it, whose digest covers it
    if not any(_is_sha512(one) for one in str(entry.get("integrity", "")).split()):
        raise Refused("package_refused", f"the registry states no SHA-512 digest of {path[:80]!a}")


def _is_sha512(text: str) -> bool:
    algorithm, _, value = text.partition("-")
    try:
        return algorithm == "sha512" and len(base64.b64decode(value, validate=True)) == SHA512_BYTES
    except binascii.Error:
        return False


def _release(version: str) -> str:
    """A version as PEP 440 compares it, as far as two spellings of one wheel differ: case, and zeros at the end."""
    public, plus, local = version.lower().partition("+")
    return re.sub(r"(\.0)+(?=$|[a-z])", "", public) + plus + re.sub(r"[-_]", ".", local)
