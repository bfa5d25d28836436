"""`sekisho sandbox plan NAME`: the walls a plugin gets on this machine, before anything runs in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sekisho.assembly.housing import housed
from sekisho.assembly.packages import installed_workload
from sekisho.assembly.places import Places
from sekisho.assembly.sandbox_spec import sandbox_spec
from sekisho.cli.finding import DEFAULT_CONFIG, Json, environment, find_any, home_of, workload_of
from sekisho.cli.saying import say, say_json
from sekisho.config import PluginConfig
from sekisho.errors import Misconfigured
from sekisho.sandbox import choose, describe, describe_text, offers, probe, survey
from sekisho.sandbox import plan as plan_of
from sekisho.sandbox.host.uids import is_host_root

__all__ = ["plan"]


def plan(
    name: Annotated[str, Parameter(help="The plugin's name.")],
    *,
    config: Annotated[
        Path, Parameter(name="--config", help="A core file or a plugin file.")
    ] = DEFAULT_CONFIG,
    json: Json = False,
) -> int:
    """Print the walls a plugin gets: what it sees, what it may use, what it may call."""
    found = find_any(config)
    places = Places(home=home_of(found), config=config.absolute())
    workload = installed_workload(workload_of(found, name), places.packages)
    if not workload.command and isinstance(found, PluginConfig) and workload.upstream is None:
        raise Misconfigured(
            "config_invalid",
            f"{config} names nothing to run",
            remedy="write command = [...] or package = in its table plugin_server",
        )
    if not workload.command:
        raise Misconfigured(
            "config_invalid", f"{name} is not started by this machine", remedy="its walls are its own host's"
        )
    spec = housed(sandbox_spec(workload, environment()), workload, places, is_root=is_host_root())
    made = plan_of(spec, probe(choose(spec, offers(spec))), survey(spec))
    if json:
        say_json(describe(made))
    else:
        say(describe_text(made).rstrip("\n").split("\n"))
    return 0
