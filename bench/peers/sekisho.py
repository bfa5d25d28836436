"""Sekisho itself, as `sekisho up` runs it."""

from __future__ import annotations

import shutil
from dataclasses import replace

from bench.first import wait_first_call
from bench.house import House, house, http_plugin, open_core, stdio_plugin, write_config
from bench.processes import BenchFailed, tail
from bench.stage import Stage, Start
from bench.tools import UPSTREAM
from bench.way import SEKISHO_ROLES, Way

__all__ = ["STARTS", "way_to"]

PLUGINS, TOOLS_EACH = 10, 50


def _house(
    stage: Stage, name: str, *, tls: bool = False, durability: str = "effects", workers: int = 1
) -> House:
    """One plugin over HTTP, one behind the wall."""

    def start() -> House:
        plugins = [
            http_plugin("web", stage.upstream()),
            stdio_plugin("walled", [UPSTREAM, "--stdio"], UPSTREAM),
        ]
        config = write_config(stage.folder / name, plugins, tls=tls, durability=durability, workers=workers)
        return stage.stack.enter_context(house(config))

    return stage.once(("house", name), start)


def way_to(at: House, tool: str, upstream: int | None = None, *, tls: bool = False) -> Way:
    """The way to one plugin of a house, once that plugin has answered."""
    way = Way(
        port=at.port,
        tool=tool,
        headers=(f"Authorization: Bearer {at.token}",),
        ca_file=at.ca_file if tls else None,
        root=at.process.pid,
        upstream_port=upstream,
        roles=SEKISHO_ROLES,
    )
    try:
        wait_first_call(way, at.process)
    except BenchFailed as error:
        raise BenchFailed(f"{error}\n{tail(at.log)}") from error
    return way


def _many(stage: Stage) -> Way:
    names = ("echo", "store", "big", "steps", *(f"tool_{number:03}" for number in range(4, TOOLS_EACH)))
    plugins = [
        http_plugin(f"p{number}", stage.upstream(number + 1, tools=TOOLS_EACH), names)
        for number in range(PLUGINS)
    ]
    at = stage.stack.enter_context(house(write_config(stage.folder / "sekisho-many", plugins)))
    for number in range(PLUGINS):
        way_to(at, f"p{number}__{{}}")
    return way_to(at, "p0__{}")


def _pair(stage: Stage) -> Way:
    """Two whole houses side by side that share nothing but the load: what more processes cost this machine."""
    first, second = "sekisho-pair-1", "sekisho-pair-2"
    one = _house(stage, first)
    # one token opens both
    shutil.copytree(
        stage.folder / first / "state" / "keys" / "clients", stage.folder / second / "state/keys/clients"
    )
    (stage.folder / second / "state" / "keys").chmod(0o700)
    other = _house(stage, second)
    ways = [way_to(at, "web__{}", stage.upstream()) for at in (one, other)]
    return replace(ways[0], beside=ways[1])


def _open(stage: Stage) -> Way:
    """The core without security, at the plugin behind the wall; only the core itself counts."""
    beside = _house(stage, "sekisho")
    at = stage.stack.enter_context(open_core(beside, stage.folder / "sekisho" / "sekisho.toml"))
    return replace(way_to(at, "walled__{}"), roles={})


STARTS: dict[str, Start] = {
    "sekisho": lambda stage: way_to(_house(stage, "sekisho"), "web__{}", stage.upstream()),
    "sekisho-stdio": lambda stage: way_to(_house(stage, "sekisho"), "walled__{}"),
    "sekisho-written": lambda stage: way_to(
        _house(stage, "sekisho-written", durability="written"), "web__{}", stage.upstream()
    ),
    "sekisho-tls": lambda stage: way_to(
        _house(stage, "sekisho-tls", tls=True), "web__{}", stage.upstream(), tls=True
    ),
    "sekisho-workers": lambda stage: way_to(
        _house(stage, "sekisho-workers", workers=2), "web__{}", stage.upstream()
    ),
    "sekisho-pair": _pair,
    "sekisho-many": _many,
    "sekisho-open": _open,
}
