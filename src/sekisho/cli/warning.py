"""What a person who decides about a plugin is reminded of, each time: what its configuration gives away."""

from __future__ import annotations

from collections.abc import Iterator

from sekisho.config import PluginEntry, Workload
from sekisho.install.names import suspicion

__all__ = ["doubt", "warnings"]


def warnings(entry: PluginEntry) -> Iterator[str]:
    """Lines about one plugin; most have none."""
    if entry.grants.network.mode == "learn":
        yield f'{entry.name}: network_policy.mode = "learn": it reaches every public host it asks for by name'
    if entry.grants.isolation == "unsafe-none":
        yield (
            f'{entry.name}: sandbox.isolation = "unsafe-none": it runs without walls, as you would run it yourself'
        )
    yield from doubt(entry.workload)


def doubt(workload: Workload) -> Iterator[str]:
    """That the name of its package could be taken for another one, also where it was accepted before."""
    found = None if workload.package is None else suspicion(workload.package)
    if found is not None and workload.package is not None:
        yield f"{workload.name}: {found.about(workload.package.name)}"
