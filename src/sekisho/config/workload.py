"""One plugin as its plugin server runs it, whichever of the two files it was written in.

Guarantees that both files end in the same `Workload`; `grants` is the single statement of what the plugin may touch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sekisho.config.granted import Granted
from sekisho.config.install import package_of
from sekisho.config.own_table import settings_names
from sekisho.config.program import Program
from sekisho.config.values import is_secret_name
from sekisho.credentials import OAuthSettings
from sekisho.install import PackageSpec
from sekisho.policy.grants import Grants
from sekisho.policy.roots import Narrowed, Root

__all__ = ["Workload", "workload_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One plugin as its plugin server runs it: what to start, with what, behind which walls.

    `command` starts an MCP server on stdio; `upstream` names one that already speaks Streamable HTTP; `package` is
    one to be installed, whose command is known once it is. Never two of them.
    """

    name: str
    command: tuple[str, ...]
    upstream: str | None
    working_directory: Path | None
    runtime_paths: tuple[Path, ...]
    settings: tuple[tuple[str, str], ...]
    grants: Grants
    isolation: str
    driver: str = "auto"
    engine: str = "auto"
    image: str = ""
    oci_runtime: str = ""
    uids: str = ""
    told_paths: str = "all"
    unix_sockets: str = "auto"
    warm: bool = True
    preload: tuple[str, ...] | None = None
    client_requests: tuple[str, ...] = ("elicitation",)
    trace_context: tuple[str, ...] = ()
    instances: Literal["shared", "client", "session"] = "shared"
    max_instances: int = 8
    instance_idle_s: float = 300.0
    oauth: OAuthSettings | None = None
    upstream_ca_path: Path | None = None
    upstream_headers: tuple[tuple[str, str], ...] = ()
    upstream_private: bool = False
    package: PackageSpec | None = None
    entry: str | None = None
    arguments: tuple[str, ...] = ()
    roots: tuple[Root, ...] | None = None
    """Those that give it something; None when the file states none."""
    idle_roots: tuple[str, ...] = ()
    """A sentence on each root that gives it nothing."""
    runtime: Literal["auto", "deno", "wasm"] = "auto"

    @property
    def gates(self) -> int:
        """How many sandboxes of it may have a way out at the same time, besides the one that is listed."""
        return 0 if self.instances == "shared" else self.max_instances

    @property
    def settings_environment(self) -> Mapping[str, str]:
        """Variables whose values the configuration states."""
        return settings_names(self.name, self.settings)

    @property
    def secret_settings(self) -> tuple[str, ...]:
        """Settings that look like a secret written into the file."""
        return tuple(key for key, _ in self.settings if is_secret_name(key))


def workload_of(
    name: str,
    program: Program,
    granted: Granted,
    narrowed: Narrowed,
    settings: tuple[tuple[str, str], ...],
) -> Workload:
    """The plugin of that name; `narrowed` is what is left of `granted` within its roots."""
    return Workload(
        name=name,
        command=program.command,
        package=package_of(program.package),
        entry=program.entry,
        arguments=program.arguments,
        upstream=program.upstream,
        upstream_ca_path=program.upstream_ca_path,
        upstream_headers=program.upstream_headers,
        upstream_private=program.upstream_private,
        working_directory=program.working_directory,
        runtime_paths=program.runtime_paths,
        settings=settings,
        grants=narrowed.grants,
        isolation=granted.sandbox.isolation,
        driver=granted.sandbox.driver,
        engine=granted.sandbox.engine,
        image=granted.sandbox.image,
        oci_runtime=granted.sandbox.oci_runtime,
        uids=granted.sandbox.uids,
        told_paths=granted.sandbox.told_paths,
        unix_sockets=granted.sandbox.unix_sockets,
        warm=program.warm,
        preload=program.preload,
        client_requests=program.client_requests,
        trace_context=program.trace_context,
        instances=program.instances,
        max_instances=program.max_instances,
        instance_idle_s=program.instance_idle_seconds,
        oauth=granted.oauth.settings,
        roots=None if granted.roots is None else narrowed.roots,
        idle_roots=narrowed.idle,
        runtime=program.runtime,
    )
