"""What has to be prepared before the walls of one plugin are raised: where its writes go, and whose files it sees.

Guarantees
- writes to every granted folder are collected when the grant says so, each in one place, however grants lie in each
  other;
- what cannot be collected is refused: a single file, a driver without mounts, a place for drafts inside a granted one;
- for a plugin with a user of its own, the listed folders and its runtime are shown as that user's, the system is not.

Judgement only: what exists was found by `closure`, and `launcher.staging` carries it out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sekisho.sandbox.mount import Mount, is_below, normal
from sekisho.sandbox.plans.spec import Closure, DriverName, SandboxSpec, unavailable

__all__ = ["NOTHING", "Overlay", "Staging", "draft_name", "overlay_tag", "staging_of"]

_ABLE: Final = ("bubblewrap", "native")
# Everybody may read them; shown as the plugin's own they would open what only root reads.
_SYSTEM: Final = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/proc",
    "/dev",
    "/sys",
)
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """One granted folder whose writes are collected: in a draft, or without one in memory, to be lost."""

    path: str
    draft: str = ""
    size: int = 0

    @property
    def upper(self) -> str:
        """Where the kernel puts what is written."""
        return f"{self.draft}/upper" if self.draft else ""

    @property
    def work(self) -> str:
        """The kernel's own space beside it."""
        return f"{self.draft}/work" if self.draft else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """`owner` is the plugin's own user on this host, None for ours; `mapped` are the sources shown as that user's."""

    overlays: tuple[Overlay, ...] = ()
    owner: int | None = None
    mapped: tuple[str, ...] = ()

    @property
    def drafts(self) -> tuple[Overlay, ...]:
        """Those whose writes outlive the plugin."""
        return tuple(one for one in self.overlays if one.draft)


NOTHING: Final = Staging()


def draft_name(folder: str) -> str:
    """What the draft of one granted folder is called among those of its plugin."""
    return hashlib.sha256(folder.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def overlay_tag(upper: str) -> str:
    """What the mount table calls an overlay: tells one draft from another, and tells the plugin nothing of the host."""
    return "draft-" + hashlib.sha256(upper.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def staging_of(spec: SandboxSpec, closure: Closure, driver: DriverName, mounts: Iterable[Mount]) -> Staging:
    """What to prepare for these mounts.

    Raises:
        Misconfigured: this driver cannot, or the grant cannot be honoured so.
    """
    able = driver in _ABLE
    owner = spec.owner if able or driver == "oci" else None
    overlays = _overlays(spec, closure, able=able)
    listed = {mount.source for mount in mounts if mount.kind in {"read", "write"}}
    granted = {*map(normal, (*spec.grants.files.read_only_paths, *spec.grants.files.writable_paths))}
    mapped = (
        {path for path in listed if is_below(path, granted) or not is_below(path, _SYSTEM)}
        if able and owner is not None
        else ()
    )
    return Staging(overlays=overlays, owner=owner, mapped=tuple(sorted(mapped)))


def _overlays(spec: SandboxSpec, closure: Closure, *, able: bool) -> tuple[Overlay, ...]:
    files = spec.grants.files
    folders = _outermost(map(normal, files.writable_paths))
    if files.persist == "direct" or not folders:
        return ()
    if not able:
        raise unavailable(
            f'persist = "{files.persist}" of plugin {spec.name!r} needs bubblewrap or namespaces of our own',
            'write persist = "direct", or see sekisho doctor for what is missing',
        )
    for path in folders:
        if path in closure.files:
            raise unavailable(
                f'the writes to {path} cannot be collected (persist = "{files.persist}"): it is a single file',
                "grant the folder it stands in",
            )
    for path in closure.mounts_below:
        raise unavailable(
            f"the writes to {path} cannot be collected: it is a file system of its own inside a granted folder",
            "grant it by its own path, and what lies beside it by theirs",
        )
    if files.persist == "discard":
        size = spec.grants.limits.max_tmp_mb * _MIB
        return tuple(Overlay(path=path, size=size) for path in folders)
    if spec.drafts is None:
        raise unavailable(f"plugin {spec.name!r} has no place for what it writes", "start it with sekisho")
    for path in folders:
        if is_below(spec.drafts, (path,)) or is_below(path, (spec.drafts,)):
            raise unavailable(
                f"{path} is granted, and what is written there would be kept in {spec.drafts}, inside it",
                "choose another home, or grant less",
            )
    return tuple(Overlay(path=path, draft=f"{spec.drafts}/{draft_name(path)}") for path in folders)


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for path in sorted(set(paths)):
        if not is_below(path, found):
            found.append(path)
    return tuple(found)
