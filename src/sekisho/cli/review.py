"""Commands by which a person decides: `plugins`, `review`, `approve`.

Guarantees that what is approved is what was shown: the surface is read once, and with `--root` it must be the
one a person reviewed before. Judgement is the registry's.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from sekisho.assembly.household import dossiers
from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, Site, find, person
from sekisho.cli.saying import ask, columns, note, say, say_json
from sekisho.cli.warning import warnings
from sekisho.config import PluginEntry
from sekisho.errors import Refused, Unavailable
from sekisho.protocol import PluginName, plugin_name
from sekisho.registry import (
    Drift,
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
    page = _case(site, name).page
    for line in warnings(site.config.plugin(name)):
        note(line)
    if json:
        say_json(page.as_json())
    else:
        say(page.lines())
    return 0


def approve(
    name: Name,
    *,
    by: Annotated[str | None, Parameter(help="Who approves; else the login name.")] = None,
    root: Annotated[str | None, Parameter(help="Approve only this surface, as review printed it.")] = None,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> int:
    """Approve what a plugin says now: its definitions, its launcher and its permissions.

    Shows them and asks; a script says --yes, and should say --root too.
    """
    site = find(config)
    case = _case(site, name)
    if root is not None and root != case.surface.root:
        raise Refused(
            "definition_changed",
            f"{name} now shows {case.surface.root}",
            remedy=f"look again: sekisho review {name}",
        )
    if not yes:
        _ask(case, json)
    approver = by or person()
    entry = lock_entry(
        name=case.name,
        argv=case.argv,
        grants=case.grants,
        surface=case.surface,
        approved_by=approver,
        approved_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    update_lock(site.lock, lambda lock: lock.with_plugin(entry))
    done = {
        "approved": name,
        "root": entry.root,
        "definitions": len(entry.items),
        "by": approver,
        "lock": site.lock,
    }
    if json:
        say_json(done)
    else:
        say([f"approved {name}: {len(entry.items)} definitions, {entry.root}, by {approver}, in {site.lock}"])
    return 0


def _ask(case: _Case, json: bool) -> None:
    if json or not sys.stdin.isatty():
        raise Refused(
            "approval_refused", "nobody can be asked here", remedy="read the review, then add --yes"
        )
    say(case.page.lines())
    for line in case.warnings:
        note(line)
    if not ask(f"Approve {case.name} as shown?"):
        raise Refused("approval_refused", f"{case.name} was not approved", remedy="nothing was changed")


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


def _case(site: Site, typed: str) -> _Case:
    name = plugin_name(site.config.plugin(typed).name)
    shelf, lock = Shelf(site.home), load_lock(site.lock)
    root = shelf.current(name)
    if root is None:
        raise Unavailable(
            "plugin_unavailable",
            f"{name} has never been listed",
            remedy="start the gateway once so that the plugin lists its tools: sekisho up",
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
        "summary": "never listed" if drift is None else drift.summary(),
        "definitions": 0 if surface is None else len(surface.items),
        "allowed_operations": list(entry.allowed_operations),
        "where": entry.upstream or _runs(entry) or entry.url,
    }


def _drift(site: Site, lock: LockFile, name: PluginName, surface: Surface | None) -> Drift | None:
    if surface is None:
        return None
    dossier = dossiers(site.config)[name]
    return compare(lock.get(name), surface, dossier.argv, dossier.grants)


def _runs(entry: PluginEntry) -> str | None:
    if entry.package is not None:
        return f"runs {entry.package}"
    return f"runs {entry.command[0]}" if entry.command else None
