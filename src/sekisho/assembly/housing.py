"""Where a plugin's writes wait, and as whom it runs: what its walls need of the home folder."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from sekisho.assembly.places import Places
from sekisho.config import Workload
from sekisho.errors import Misconfigured, Unavailable
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.drafts.draft import Drafts
from sekisho.sandbox.host.uids import give_user

__all__ = ["drafts_of", "follow_drafts", "housed"]

LOOK_S: Final = 1.0


def housed(spec: SandboxSpec, workload: Workload, places: Places, *, is_root: bool) -> SandboxSpec:
    """The walls of a plugin with a place for its drafts and, where root of the host gives it one, a user of its own.

    Raises:
        Misconfigured: several instances of it would write into one draft, or no user is free.
    """
    if workload.grants.files.persist == "review" and workload.instances != "shared":
        raise Misconfigured(
            "config_invalid",
            f'plugin {workload.name!r} has instances = "{workload.instances}" and persist = "review"',
            remedy='write instances = "shared", or persist = "discard": one draft has one writer',
        )
    owner = None
    if workload.uids and is_root:
        owner = give_user(places.uids, workload.name, workload.uids)
    return replace(spec, drafts=str(places.drafts / workload.name), owner=owner)


def drafts_of(places: Places, name: str) -> Drafts:
    """What one plugin wrote and nobody decided on."""
    return Drafts(places.drafts / name)


async def follow_drafts(places: Places, workload: Workload) -> None:
    """Return never; raise when somebody waits for the drafts, so that the plugin ends and gives them away.

    Raises:
        Unavailable: somebody does.
    """
    drafts = drafts_of(places, workload.name)
    while True:
        await asyncio.sleep(LOOK_S)
        if drafts.is_wanted:
            raise Unavailable(
                "plugin_exited",
                f"what {workload.name} wrote is being kept or discarded",
                remedy="it starts again by itself",
            )
