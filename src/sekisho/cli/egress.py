"""`sekisho egress log` and `sekisho egress propose`: what went out, what was refused, and what a plugin seems to need.

Both read the ledger the egress process keeps for each plugin; neither asks a running process. Following ends when its
reader does, or is interrupted.
"""

from __future__ import annotations

import select
import sys
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sekisho.assembly.places import Places
from sekisho.cli.finding import DEFAULT_CONFIG, Json, find_any, home_of, workload_of
from sekisho.cli.saying import columns, note, say, say_json
from sekisho.config import CoreConfig, Workload
from sekisho.egress.following import LedgerFollower
from sekisho.egress.proposal import propose as propose_from
from sekisho.egress.record import LedgerEntry, read_entries

__all__ = ["log", "propose"]

Name = Annotated[str, Parameter(help="The plugin, as its file names it.")]
AnyFile = Annotated[Path, Parameter(name="--config", help="A core file or a plugin file.")]
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
    config: AnyFile = DEFAULT_CONFIG,
    json: Json = False,
) -> int:
    """Show what a plugin sent out and what it was refused, oldest first.

    With --follow and --json each event is a line of its own.
    """
    _, plugin, folder = _found(config, name)
    if follow:
        _warn_learning(plugin)
        return _follow(folder, plugin, lines=max(lines, 0), only_refused=refused, json=json)
    entries = (one for one in read_entries(folder, plugin.name) if not (refused and one.allowed))
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


def _follow(folder: Path, plugin: Workload, *, lines: int, only_refused: bool, json: bool) -> int:
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


def propose(name: Name, /, *, config: AnyFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """Print the allow-list a plugin seems to need, from what it reached while mode = "learn".

    Read it before you paste it: the plugin chose the names.
    """
    is_core, plugin, folder = _found(config, name)
    proposal = propose_from(list(read_entries(folder, plugin.name)), plugin.grants.network)
    if json:
        say_json({"plugin": name, **asdict(proposal)})
        return 0
    if proposal.learned:
        say(proposal.toml("plugins.servers.network_policy" if is_core else "network_policy"))
    else:
        note(f"{name}: nothing was learned yet")
        note(f"→ {_how_to_learn(plugin)}")
    _warn_learning(plugin)
    return 0


def _found(config: Path, name: str) -> tuple[bool, Workload, Path]:
    """Whether it is a core file, its plugin, and the folder of ledgers that the egress process of that file keeps."""
    found = find_any(config)
    places = Places(home=home_of(found), config=config.absolute())
    return isinstance(found, CoreConfig), workload_of(found, name), places.egress_log


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


def _how_to_learn(plugin: Workload) -> str:
    if plugin.grants.network.mode != "learn":
        return 'set network_policy.mode = "learn", let it work while you watch, then ask again'
    return (
        f"let it work while you watch, then ask again; sekisho egress log {plugin.name} shows what it tried"
    )


def _warn_learning(plugin: Workload) -> None:
    if plugin.grants.network.mode == "learn":
        note(
            f'{plugin.name}: network_policy.mode = "learn": it reaches every public host it asks for by name'
        )
