"""Commands by which a person decides: `plugins`, `review`, `approve`.

Guarantees that what is approved is what was shown: everything is read once, and with `--digest` it must be what a person
reviewed before, command line and permissions included. Judgement is the registry's.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Annotated, Any

from cyclopts import Parameter

from sekisho.assembly.household import dossiers
from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, Site, find, person
from sekisho.cli.saying import ask, columns, note, say, say_json
from sekisho.cli.warning import warnings
from sekisho.config import PluginEntry
from sekisho.errors import Misconfigured, Refused, Tampered, Unavailable
from sekisho.protocol import PluginName, plugin_name
from sekisho.registry import (
    Drift,
    LockedPlugin,
    LockFile,
    ReviewPage,
    Shelf,
    Surface,
    compare,
    load_lock,
    lock_entry,
    render,
    update_lock,
)

__all__ = ["approve", "plugins", "review"]

Name = Annotated[str, Parameter(help="The plugin's name.")]


def plugins(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """List the plugins and whether they are approved."""
    site = find(config)
    lock = load_lock(site.lock)
    rows = [_row(site, lock, entry) for entry in site.config.plugins.servers]
    if json:
        say_json({"plugins": rows})
    else:
        names = ("name", "state", "summary", "definitions", "where")
        columns(names, [[str(row[name]) for name in names] for row in rows])
    for entry in site.config.plugins.servers:
        for line in warnings(entry):
            note(line)
    return 0


def review(name: Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """Show what a plugin says and what changed since it was approved."""
    site = find(config)
    case = _case(site, name)
    for line in warnings(site.config.plugin(name)):
        note(line)
    if json:
        say_json({**case.page.as_json(), "digest": case.seen})
    else:
        say(case.page.lines())
        note(f"→ sekisho approve {name} --digest {case.seen}")
    return 0


def approve(
    *names: Name,
    every: Annotated[
        bool,
        Parameter(
            name="--all", negative="", help="Every plugin that was listed and is not approved as it is."
        ),
    ] = False,
    by: Annotated[str | None, Parameter(help="Who approves; else the login name.")] = None,
    root: Annotated[str | None, Parameter(help="Approve only this surface, as review printed it.")] = None,
    digest: Annotated[
        str | None,
        Parameter(help="Approve only what review showed with this digest: surface, launcher, permissions."),
    ] = None,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> int:
    """Approve what plugins say now: their definitions, their launchers and their permissions.

    Shows them all and asks once; a script says --yes, and for one plugin should say --digest too. Either all
    of them are approved or none.
    """
    site = find(config)
    cases = _chosen(site, names, every=every)
    if root is not None or digest is not None:
        if len(cases) != 1 or every:
            raise Misconfigured(
                "config_invalid", "--root and --digest are those of one plugin", remedy="name one plugin"
            )
        _refuse_unseen(cases[0], root, digest)
    if cases and not yes:
        _ask(cases, json)
    approver, now = by or person(), datetime.now(UTC).isoformat(timespec="seconds")
    entries = [_entry(case, approver, now) for case in cases]
    if entries:
        update_lock(site.lock, lambda lock: reduce(LockFile.with_plugin, entries, lock))
    _tell(site, entries, json=json, is_one=len(names) == 1)
    return 0


def _refuse_unseen(case: _Case, root: str | None, digest: str | None) -> None:
    if root not in (None, case.surface.root) or digest not in (None, case.seen):
        raise Refused(
            "definition_changed",
            f"{case.name} is not what was shown with that; it now shows {case.surface.root}",
            remedy=f"look again: sekisho review {case.name}",
        )


def _chosen(site: Site, names: tuple[str, ...], *, every: bool) -> list[_Case]:
    if bool(names) == every:
        raise Misconfigured(
            "config_invalid", "it takes names of plugins, or --all", remedy="type sekisho plugins to see them"
        )
    if not every:
        return [_case(site, name) for name in dict.fromkeys(names)]
    lock = load_lock(site.lock)
    rows = [_row(site, lock, entry) for entry in site.config.plugins.servers]
    for row in rows:
        if row["state"] == "unlisted":
            note(f"{row['name']}: never listed, so there is nothing to approve")
    return [_case(site, row["name"]) for row in rows if row["state"] in ("unknown", "changed")]


def _entry(case: _Case, approver: str, now: str) -> LockedPlugin:
    return lock_entry(
        name=case.name,
        argv=case.argv,
        grants=case.grants,
        surface=case.surface,
        approved_by=approver,
        approved_at=now,
    )


def _tell(site: Site, entries: list[LockedPlugin], *, json: bool, is_one: bool) -> None:
    told = [
        {
            "approved": str(entry.name),
            "root": entry.root,
            "definitions": len(entry.items),
            "by": entry.approved_by,
            "lock": site.lock,
        }
        for entry in entries
    ]
    if json:
        say_json(told[0] if is_one else {"approvals": told})
        return
    for one in told:
        say(["approved {approved}: {definitions} definitions, {root}, by {by}, in {lock}".format_map(one)])
    if not told:
        note("nothing waits for an approval")


def _ask(cases: list[_Case], json: bool) -> None:
    if json or not sys.stdin.isatty():
        raise Refused(
            "approval_refused", "nobody can be asked here", remedy="read the review, then add --yes"
        )
    for case in cases:
        say(case.page.lines())
        for line in case.warnings:
            note(line)
    names = ", ".join(case.name for case in cases)
    if not ask(f"Approve {names} as shown?"):
        raise Refused("approval_refused", f"{names} was not approved", remedy="nothing was changed")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """Everything about one plugin that an approval pins, read once."""

    name: PluginName
    argv: tuple[str, ...]
    grants: str
    surface: Surface
    lock: LockFile
    page: ReviewPage
    warnings: tuple[str, ...]

    @property
    def seen(self) -> str:
        """The digest of what is shown, and would be approved."""
        return _entry(self, "", "").seen


def _case(site: Site, typed: str) -> _Case:
    name = plugin_name(site.config.plugin(typed).name)
    shelf, lock = Shelf(site.home), load_lock(site.lock)
    root = shelf.current(name)
    if root is None:
        raise Unavailable(
            "plugin_unavailable",
            f"{name} has never been listed",
            remedy=f"install its package: sekisho install {name}"
            if _lacks_package(site, site.config.plugin(typed))
            else "start the gateway once so that the plugin lists its tools: sekisho up",
        )
    dossier = dossiers(site.config)[name]
    surface, locked = shelf.load(name, root), lock.get(name)
    drift = compare(locked, surface, dossier.argv, dossier.grants)
    return _Case(
        name=name,
        argv=tuple(dossier.argv),
        grants=dossier.grants,
        surface=surface,
        lock=lock,
        page=render(
            plugin=name,
            grants=site.config.plugin(name).grants,
            argv=dossier.argv,
            surface=surface,
            locked_surface=None if locked is None else shelf.find(name, locked.root),
            drift=drift,
        ),
        warnings=tuple(warnings(site.config.plugin(name))),
    )


def _row(site: Site, lock: LockFile, entry: PluginEntry) -> dict[str, Any]:
    name = plugin_name(entry.name)
    shelf = Shelf(site.home)
    root = shelf.current(name)
    surface = None if root is None else shelf.load(name, root)
    drift = _drift(site, lock, name, surface)
    return {
        "name": entry.name,
        "state": "unlisted" if drift is None else drift.state.value,
        "summary": "not installed" if _lacks_package(site, entry) else _summary(drift),
        "definitions": 0 if surface is None else len(surface.items),
        "allowed_operations": list(entry.allowed_operations),
        "where": entry.upstream or _runs(site, entry) or entry.url,
    }


def _lacks_package(site: Site, entry: PluginEntry) -> bool:
    """Whether it cannot run because what the file names is not installed on this machine."""
    return entry.package is not None and entry.runs_here and _release(site, entry) is None


def _release(site: Site, entry: PluginEntry) -> str | None:
    """The release that runs, which after a step back is not the one that the file names; None while none does."""
    from sekisho.install.store import Store  # noqa: PLC0415 - most plugins are no packages

    store = Store(site.packages)
    active = store.active(entry.name)
    if active is None or active.asked != entry.package:
        return None
    try:
        return store.open(active.current).receipt.package
    except Misconfigured:
        return None
    except Tampered:
        return entry.package  # which the start will refuse, and say why


def _summary(drift: Drift | None) -> str:
    """What the state leaves open."""
    if drift is None:
        return "never listed"
    return "as approved" if drift.is_unchanged else drift.summary()


def _drift(site: Site, lock: LockFile, name: PluginName, surface: Surface | None) -> Drift | None:
    if surface is None:
        return None
    dossier = dossiers(site.config)[name]
    return compare(lock.get(name), surface, dossier.argv, dossier.grants)


def _runs(site: Site, entry: PluginEntry) -> str | None:
    if entry.package is not None:
        release = _release(site, entry) if entry.runs_here else None
        if release in (None, entry.package):
            return f"runs {entry.package}"
        return f"runs {release}, rolled back from {entry.package}"
    return f"runs {entry.command[0]}" if entry.command else None
