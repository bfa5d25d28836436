"""Is this still what was approved?

Guarantees: `unchanged` is said only when the surface root, every item digest, the launcher's argument list
and the granted permissions all equal the locked ones. No entry in the lock means `unknown`, never
`unchanged`. Judgement only: it neither reads the lock file nor acts on the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Protocol

from sekisho.policy.grants import Grants
from sekisho.protocol.canonical import canonical_bytes, digest
from sekisho.protocol.json_text import JsonValue
from sekisho.registry.surface import PACKAGE, ItemId, Surface

__all__ = ["Drift", "DriftState", "compare", "grants_digest"]


class DriftState(StrEnum):
    """The three answers; only one of them lets calls pass."""

    UNKNOWN = "unknown"
    UNCHANGED = "unchanged"
    CHANGED = "changed"


class Pinned(Protocol):
    """What `compare` needs of a lock entry."""

    @property
    def argv(self) -> tuple[str, ...]: ...
    @property
    def grants(self) -> str: ...
    @property
    def root(self) -> str: ...
    @property
    def items(self) -> dict[ItemId, str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What differs between the lock and what is seen now."""

    state: DriftState
    added: tuple[ItemId, ...] = ()
    removed: tuple[ItemId, ...] = ()
    changed: tuple[ItemId, ...] = ()
    argv_changed: bool = False
    grants_changed: bool = False

    @property
    def is_unchanged(self) -> bool:
        """The one question that admits calls."""
        return self.state is DriftState.UNCHANGED

    @property
    def surface_changed(self) -> bool:
        """True when the plugin itself says something else than before."""
        return bool(self.added or self.removed or self.changed)

    @property
    def is_package_alone(self) -> bool:
        """True when it says the same as before, and only the files of its package are others, or were not named."""
        elsewhere = {*self.added, *self.removed, *self.changed}
        return elsewhere == {PACKAGE} and not (self.argv_changed or self.grants_changed)

    def summary(self) -> str:
        """One sentence of counts; it names nothing that a plugin wrote."""
        if self.state is DriftState.UNKNOWN:
            return f"not approved yet ({len(self.added)} definitions)"
        counts = (("added", self.added), ("removed", self.removed), ("changed", self.changed))
        parts = [f"{len(ids)} {word}" for word, ids in counts if ids]
        parts = ["files of the package changed"] if self.is_package_alone else parts
        parts += ["launcher changed"] if self.argv_changed else []
        parts += ["permissions changed"] if self.grants_changed else []
        return ", ".join(parts) or "unchanged"


def compare(locked: Pinned | None, surface: Surface, argv: Sequence[str], grants: str) -> Drift:
    """Compare what was approved with what is seen now; `grants` is `grants_digest` of today's permissions."""
    now = surface.digests()
    if locked is None:
        return Drift(state=DriftState.UNKNOWN, added=tuple(sorted(now)))
    then = locked.items
    drift = Drift(
        state=DriftState.CHANGED,
        added=tuple(sorted(now.keys() - then.keys())),
        removed=tuple(sorted(then.keys() - now.keys())),
        changed=tuple(sorted(key for key in now.keys() & then.keys() if now[key] != then[key])),
        argv_changed=tuple(argv) != tuple(locked.argv),
        grants_changed=grants != locked.grants,
    )
    # the root is compared as well: should item digests and root ever disagree, the answer is "changed"
    is_same = not (drift.surface_changed or drift.argv_changed or drift.grants_changed)
    if is_same and surface.root == locked.root:
        return Drift(state=DriftState.UNCHANGED)
    return drift


def grants_digest(grants: Grants) -> str:
    """One digest over what a plugin may reach.

    Limits (memory, time, processes) are left out: they bound cost, not reach, and an operator who raises a
    memory limit should not be asked to review every tool again.
    """
    network, files = _plain(asdict(grants.network)), _plain(asdict(grants.files))
    reach: dict[str, JsonValue] = {
        "network": network,
        "files": files,
        "environment": [*sorted(grants.environment)],
        "allowed_operations": [*sorted(grants.allowed_operations)],
    }
    # What is off, or empty, is left out: a permission that did not exist at the time of an approval does not change it.
    if not grants.network.intercept_tls:
        del network["intercept_tls"]
    if grants.network.mode == "enforce":
        del network["mode"]
    if grants.files.persist == "direct":
        del files["persist"]
    del network["max_connections"], network["max_mb_per_minute"], network["endpoints"]
    if grants.network.endpoints:
        network["endpoints"] = [*sorted(f"{host}:{port}" for host, port in grants.network.endpoints)]
    if grants.isolation != "strict":
        reach["isolation"] = grants.isolation
    if grants.widened:
        reach["widened"] = [*sorted(grants.widened)]
    if grants.secrets:
        reach["secrets"] = [*sorted(one.reach for one in grants.secrets)]
    return digest("sekisho/grants/1", canonical_bytes(reach))


def _plain(fields: dict[str, object]) -> dict[str, JsonValue]:
    """Sets of names in a fixed order, so that reordering a list in the configuration is not a change."""
    plain: dict[str, JsonValue] = {}
    for key, value in fields.items():
        plain[key] = value if isinstance(value, bool | int | str) else sorted(value)  # type: ignore[call-overload]  # tuples of str or int
    return plain
