"""`sekisho egress log` and `sekisho egress propose`: what went out, what was refused, and what a plugin seems to need.

Both read the ledger the egress process keeps for each plugin; neither asks a running process. Following ends when its
reader does, or is interrupted.
"""

from __future__ import annotations

import select
import sys
from collections import deque
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from sekisho.assembly.places import Places
from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, Site, find
from sekisho.cli.saying import columns, note, say, say_json
from sekisho.config import PluginEntry
from sekisho.egress.following import LedgerFollower
from sekisho.egress.proposal import propose as propose_from
from sekisho.egress.record import LedgerEntry, read_entries

__all__ = ["log", "propose"]

Name = Annotated[str, Parameter(help="The plugin, as the core file names it.")]
LEARNED = "learned"
LOOK_MS = 300  # between two looks: at once to a person, nothing to the machine


def log(
    name: Name,
    /,
    *,
    refused: Annotated[bool, Parameter(negative="", help="Only what was refused.")] = False,
    lines: Annotated[int, Parameter(name=["--lines", "-n"], help="How many of the newest events.")] = 50,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], negative="", help="Go on, until you interrupt it.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> int:
    """Show what a plugin sent out and what it was refused, oldest first.

    With --follow and --json each event is a line of its own.
    """
    site = find(config)
    plugin = site.config.plugin(name)
    if follow:
        _warn_learning(plugin)
        return _follow(site, plugin, lines=max(lines, 0), only_refused=refused, json=json)
    entries = (one for one in _entries(site, plugin) if not (refused and one.allowed))
    newest = list(deque(entries, maxlen=max(lines, 0)))
    if json:
        say_json(
            {"plugin": name, "mode": plugin.grants.network.mode, "events": [asdict(one) for one in newest]}
        )
        return 0
    if newest:
        columns(("time", "what", "host", "port", "outcome", "bytes", "reason"), [_row(one) for one in newest])
    else:
        note(f"{name}: nothing was {'refused' if refused else 'asked of the gate'} yet")
    _warn_learning(plugin)
    return 0


def _follow(site: Site, plugin: PluginEntry, *, lines: int, only_refused: bool, json: bool) -> int:
    folder = Places(home=site.home, config=site.path).egress_log
    reader = select.poll()
    reader.register(sys.stdout, 0)
    with LedgerFollower(folder, plugin.name) as ledger:
        newest = deque((one for one in ledger.new() if not (only_refused and one.allowed)), maxlen=lines)
        while True:
            for one in newest:
                if json:
                    say_json({"plugin": plugin.name, **asdict(one)})
                else:
                    say(["  ".join(_row(one)).rstrip()])
            sys.stdout.flush()
            if reader.poll(LOOK_MS):
                return 0  # it has hung up
            newest = deque(one for one in ledger.new() if not (only_refused and one.allowed))


def propose(name: Name, /, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """Print the allow-list a plugin seems to need, from what it reached while mode = "learn".

    Read it before you paste it: the plugin chose the names.
    """
    site = find(config)
    plugin = site.config.plugin(name)
    proposal = propose_from(_entries(site, plugin), plugin.grants.network)
    if json:
        say_json({"plugin": name, **asdict(proposal)})
        return 0
    if proposal.learned:
        say(proposal.toml("plugins.servers.network_policy"))
    else:
        note(f"{name}: nothing was learned yet")
        note('→ set network_policy.mode = "learn", let it work while you watch, then ask again')
    _warn_learning(plugin)
    return 0


def _entries(site: Site, plugin: PluginEntry) -> list[LedgerEntry]:
    return list(read_entries(Places(home=site.home, config=site.path).egress_log, plugin.name))


def _row(entry: LedgerEntry) -> tuple[str, ...]:
    outcome = "REFUSED" if not entry.allowed else LEARNED if entry.learned else "passed"
    missing = f" ({entry.left_out} more before it)" if entry.left_out else ""
    return (
        entry.time[:19],
        entry.kind,
        entry.host or "-",
        str(entry.port or "-"),
        outcome,
        str(entry.bytes),
        entry.reason + missing,
    )


def _warn_learning(plugin: PluginEntry) -> None:
    if plugin.grants.network.mode == "learn":
        note(
            f'{plugin.name}: network_policy.mode = "learn": it reaches every public host it asks for by name'
        )
