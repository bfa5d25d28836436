"""Commands that run processes: `up`, `core`, `plugin`, `egress`, `connect`. Each hands over to `assembly`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, Site, environment, find, find_any, home_of
from sekisho.config import PluginConfig
from sekisho.errors import Misconfigured

__all__ = ["connect", "core", "egress", "plugin", "up"]

TrustFirst = Annotated[
    bool,
    Parameter(name="--trust-on-first-use", negative="", help="Approve plugins never seen before, unread."),
]


def up(
    *, config: ConfigFile = DEFAULT_CONFIG, trust_on_first_use: TrustFirst = False, json: Json = False
) -> int:
    """Start everything on this machine.

    Prints one JSON line once calls can be served, and stops everything on SIGTERM or Ctrl-C. On a terminal each
    plugin is told of as it comes up; with --json by lines of their own.
    """
    from sekisho.assembly.cradle import Cradle  # noqa: PLC0415

    with Cradle(environment()) as cradle:
        from sekisho.assembly.up import run_up  # noqa: PLC0415
        from sekisho.cli.arriving import shown  # noqa: PLC0415

        site = find(config)
        return run_up(
            site.path,
            site.home,
            cradle,
            trust_on_first_use=trust_on_first_use,
            tell=shown(json=json),
            as_json=json,
        )


def core(
    *, config: ConfigFile = DEFAULT_CONFIG, trust_on_first_use: TrustFirst = False, json: Json = False
) -> None:
    """Run the core: the gate, the keys, the log."""
    from sekisho.assembly.core import run_core  # noqa: PLC0415

    del json
    site = find(config)
    run_core(site.path, site.home, trust_on_first_use=trust_on_first_use)


def plugin(
    *command: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[Path, Parameter(name="--config", help="A plugin file, or with --name the core file.")],
    name: Annotated[str | None, Parameter(help="The plugin's name inside a core file.")] = None,
    json: Json = False,
) -> None:
    """Run one plugin server and its plugin behind walls.

    Words after -- replace the configured command.
    """
    from sekisho.assembly.plugin import run_plugin  # noqa: PLC0415

    del json
    found = find_any(config)
    if name is None and not isinstance(found, PluginConfig):
        raise Misconfigured("config_invalid", f"{config} is a core file", remedy="add --name PLUGIN")
    if name is not None and isinstance(found, PluginConfig):
        raise Misconfigured("config_invalid", f"{config} is a plugin file", remedy="leave out --name")
    run_plugin(config.absolute(), home_of(found), name=name, environment=environment(), command=command)


def egress(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Run the only door out for plugins.

    Given a plugin file, for its one plugin; given a core file, for the plugins that it starts on this machine.
    """
    from sekisho.assembly.egress import run_egress  # noqa: PLC0415

    del json
    run_egress(config.absolute(), home_of(find_any(config)), environment())


def connect(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Annotated[str | None, Parameter(help="The gateway's URL; else from the core file.")] = None,
    token_file: Annotated[Path | None, Parameter(help="Where the token lies; else the owner's.")] = None,
    ca: Annotated[
        Path | None, Parameter(help="Authority of the gateway's certificate; else sekisho's own.")
    ] = None,
    plugin: Annotated[
        str | None, Parameter(help="Only this plugin, under its own names; else all of them.")
    ] = None,
    json: Json = False,
) -> None:
    """Speak MCP on standard input and output, to a running gateway.

    For clients that start a command: name this one. With --url and --token-file no core file is needed.
    """
    from sekisho.assembly.connect import run_connect  # noqa: PLC0415

    del json
    if url is None or token_file is None:
        site = find(config)
        url = url or _url_of(site)
        token_file = token_file or site.keys / "clients" / "owner.token"
        if ca is None and site.config.core_server.tls_cert_path is None:
            ca = site.keys / "authority" / "ca.crt"
    if plugin is not None:
        from sekisho.protocol import plugin_name  # noqa: PLC0415

        url = f"{url.removesuffix('/mcp')}/p/{plugin_name(plugin)}/mcp"
    run_connect(url, token_file, ca)


def _url_of(site: Site) -> str:
    server = site.config.core_server
    if server.bind_addr.port == 0:
        raise Misconfigured(
            "config_invalid",
            "the core file lets the kernel choose the port",
            remedy="add --url with the address that sekisho up printed",
        )
    scheme = "https" if server.tls == "on" else "http"
    host = str(server.bind_addr).replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
    return f"{scheme}://{host}/mcp"
