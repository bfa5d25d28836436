"""What one plugin may touch: the tables that a row of `plugins.servers` and the plugin file share.

Guarantees that both files say the same thing with the same words, and that both end in one `Grants`, the single
statement every enforcer renders (`policy.grants`). Ranges and host rules are judged there.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

from dataclasses import dataclass

from sekisho.config.field import Wrong, nested, setting
from sekisho.config.filesystem_policy import FilesystemPolicy
from sekisho.config.network_policy import NetworkPolicy
from sekisho.config.oauth import OAuth
from sekisho.config.program import Program
from sekisho.config.roots import roots
from sekisho.config.sandbox import Sandbox
from sekisho.config.secrets import secrets_table
from sekisho.config.widened import widened
from sekisho.policy import SecretGrant
from sekisho.policy.grants import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.policy.roots import Narrowed, Root, narrow

__all__ = ["Granted", "grants_of"]


@dataclass(
    frozen=True, kw_only=True
)  # without slots: a row of plugins.servers has a second base that has them
class Granted:
    """The tables that say what a plugin may touch."""

    roots: tuple[Root, ...] | None = setting(
        roots(),
        "Places it works in, which narrow everything below: a file of roots, or tables uri, name, permissions.",
        default=None,
    )
    sandbox: Sandbox = setting(nested(Sandbox), "How much it may use.", default=Sandbox())
    network_policy: NetworkPolicy = setting(
        nested(NetworkPolicy), "Hosts it may reach.", default=NetworkPolicy()
    )
    filesystem_policy: FilesystemPolicy = setting(
        nested(FilesystemPolicy), "Files it may see.", default=FilesystemPolicy()
    )
    oauth: OAuth = setting(nested(OAuth), "How its server at upstream is logged in to.", default=OAuth())
    secrets: tuple[SecretGrant, ...] = setting(
        secrets_table(), "Secrets it may use at named hosts without seeing them, by variable.", default=()
    )

    def check_oauth(self, program: Program) -> None:
        """Refuse a login that nothing would use, or that would stand in for another. Raises Wrong."""
        if self.oauth.settings is not None and not program.upstream:
            raise Wrong("stands without upstream", remedy="add upstream, or remove oauth", key="oauth")
        if self.oauth.settings is not None and program.upstream_headers:
            raise Wrong("stands beside upstream_headers", remedy="keep one of the two", key="oauth")

    def check_package(self, program: Program) -> None:
        """Refuse a package in a container, whose interpreters are not those it was installed for. Raises Wrong."""
        if program.package is not None and self.sandbox.driver == "oci":
            raise Wrong(
                'is "oci", and a package runs by the interpreters of this host',
                remedy='take out driver = "oci", or put the server into an image and write command',
                key="sandbox.driver",
            )

    def narrowed(self, program: Program, allowed_operations: tuple[str, ...], *, is_walled: bool) -> Narrowed:
        """The grants within the roots; walls of ours stand around those alone that run here."""
        granted = grants_of(
            environment=program.environment,
            allowed_operations=allowed_operations,
            sandbox=self.sandbox,
            network=self.network_policy,
            files=self.filesystem_policy,
            secrets=self.secrets,
            widened=tuple(widened(self.sandbox, program)),
        )
        return _within_roots(granted, self.roots, is_walled=is_walled)


def grants_of(
    *,
    environment: tuple[str, ...],
    allowed_operations: tuple[str, ...],
    sandbox: Sandbox,
    network: NetworkPolicy,
    files: FilesystemPolicy,
    secrets: tuple[SecretGrant, ...] = (),
    widened: tuple[str, ...] = (),
) -> Grants:
    """The one statement of what a plugin may touch."""
    return Grants(
        network=NetworkGrant(
            allowed_domains=network.allowed_domains,
            blocked_domains=network.blocked_domains,
            allowed_ports=network.allowed_ports,
            allow_localhost=network.allow_localhost,
            localhost_ports=network.localhost_ports,
            mode=network.mode,
            max_connections=network.max_connections,
            max_mb_per_minute=network.max_mb_per_minute,
            intercept_tls=network.intercept_tls,
        ),
        files=FileGrant(
            read_only_paths=files.read_only_paths,
            writable_paths=files.writable_paths,
            blocked_paths=files.blocked_paths,
            persist=files.persist,
        ),
        limits=LimitGrant(
            max_memory_mb=sandbox.max_memory_mb,
            max_cpu_percent=sandbox.max_cpu_percent,
            execution_timeout_s=sandbox.execution_timeout_seconds,
            max_pids=sandbox.max_pids,
            max_open_files=sandbox.max_open_files,
            max_tmp_mb=sandbox.max_tmp_mb,
            start_timeout_s=sandbox.start_timeout_seconds,
            io_mbps=sandbox.io_mbps,
            idle_stop_s=sandbox.idle_stop_seconds,
        ),
        environment=environment,
        allowed_operations=allowed_operations,
        secrets=secrets,
        isolation=sandbox.isolation,
        widened=widened,
    )


def _within_roots(grants: Grants, roots: tuple[Root, ...] | None, *, is_walled: bool) -> Narrowed:
    if roots is None or not is_walled:
        return Narrowed(grants=grants, roots=roots or (), idle=())
    if grants.network.mode == "learn":
        raise Wrong(
            'stands beside network_policy.mode = "learn"; roots say already what it may reach',
            remedy="take roots out while it learns, or the mode",
            key="roots",
        )
    return narrow(grants, roots)
