"""The configuration in effect, as plain values fit to print.

Guarantees that no value under a secret-looking name is shown (paths are: they name a secret, they are not
one), and that every choice which weakens a guarantee is listed under `warnings`, by its key.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sekisho.config.core import CoreConfig
from sekisho.config.fetching import fetched_at_start
from sekisho.config.field import settings_of
from sekisho.config.plugin import PluginConfig
from sekisho.config.values import BindAddress, is_loopback, is_secret_name
from sekisho.config.workload import Workload
from sekisho.policy import Root, SecretGrant

__all__ = ["MASK", "effective", "warnings_of"]

MASK: Final = "•••"


def effective(config: CoreConfig | PluginConfig) -> dict[str, Any]:
    """Every setting with the value in use, defaults included, plus `warnings`."""
    shown = _table(config)
    if isinstance(config, PluginConfig) and config.settings:
        shown[config.settings_table] = _settings(config.settings)
    shown["warnings"] = list(warnings_of(config))
    return shown


def _table(table: Any) -> dict[str, Any]:
    return {one.name: _plain(one.name, getattr(table, one.name)) for one, _, _ in settings_of(type(table))}


def _plain(name: str, value: Any) -> Any:
    if name == "settings":
        return _settings(value)
    if name == "secrets":
        return {one.name: _secret(one) for one in value}
    if isinstance(value, Root):
        return _root(value)
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, BindAddress):
        return _table(value)
    if isinstance(value, tuple):
        return [_plain("", one) for one in value]
    if isinstance(value, Path | BindAddress):
        return str(value)
    if value is None and name == "status_addr":
        return "off"
    return value


def _secret(secret: SecretGrant) -> dict[str, Any]:
    return {
        "from": str(secret.reference),
        "hosts": [str(host) for host in secret.hosts],
        "environment": secret.in_environment,
        "places": list(secret.places),
    }


def _root(root: Root) -> dict[str, Any]:
    """As a file of roots writes it."""
    leaves: dict[str, Any] = {"allow-read": root.read, "allow-write": root.write}
    if root.path is None:
        leaves = {"allow-net": [f"{host}:{port}" for host, port in root.reaches]}
    return {"uri": root.uri, "name": root.name, "permissions": {"deno": leaves}}


def _settings(settings: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {key: MASK if is_secret_name(key) else _without_password(value) for key, value in settings}


def _without_password(value: str) -> str:
    """A URL may carry user and password before its host."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return MASK
    return MASK if parts.scheme and "@" in parts.netloc else value


def warnings_of(config: CoreConfig | PluginConfig) -> Iterator[str]:
    """Each guarantee that this configuration gives up."""
    if isinstance(config, PluginConfig):
        yield from _workload_warnings(config.workload, config.settings_table)
        return
    if config.core_server.tls == "off":
        yield "core_server.tls = off: clients on this machine talk to the core without encryption"
    if config.audit.durability == "written":
        yield "audit.durability = written: results do not wait for the disk; a power cut may lose records"
    if not config.audit.tamper_protection:
        yield "audit.tamper_protection = false: the audit log can be rewritten without a trace"
    if config.install.allow_private_registry:
        yield "install.allow_private_registry = true: a registry's name may lead into a private network"
    if config.approval.answer == "yes":
        yield "approval.answer = yes: operations in require_approval pass without a person"
    if config.auth.issuers and not config.auth.required_scopes:
        yield "auth.required_scopes = []: any token made for this gateway opens it, an ID token perhaps too"
    for entry in config.plugins.servers:
        yield from _workload_warnings(entry.workload, f"plugins.servers.{entry.name}.settings")


def _workload_warnings(workload: Workload, table: str) -> Iterator[str]:
    for idle in workload.idle_roots:
        yield f"{workload.name}.roots: {idle}"
    instead = fetched_at_start(workload.command)
    if instead is not None:
        yield (
            f"{workload.name}.command: {workload.command[0]} fetches at each start, and a plugin has no registry; "
            f"write {instead} and its words as arguments, then sekisho install {workload.name}"
        )
    if workload.gates and (workload.command or workload.package):
        most_mb = (workload.gates + 1) * workload.grants.limits.max_memory_mb
        yield f"{workload.name}.max_instances: its limits count for each process; together up to {most_mb} MB"
    for key in workload.secret_settings:
        yield f"{table}.{key}: looks like a secret in the file; write it as a secret instead"
    for secret in workload.grants.secrets:
        if secret.in_environment:
            yield f"{workload.name}.secrets.{secret.name}: the plugin gets the value itself, not a placeholder"
    if workload.grants.network.mode == "learn":
        yield f"{workload.name}.network_policy.mode = learn: it reaches every public host it asks for by name"
    if workload.grants.network.intercept_tls:
        yield f"{workload.name}.network_policy.intercept_tls: the gate reads what the plugin sends inside TLS"
    if workload.upstream and workload.upstream.startswith("http:"):
        host = urlsplit(workload.upstream).hostname or ""
        if not is_loopback(host):
            yield f"{workload.name}.upstream: plain HTTP to {host}"
    if workload.upstream:
        yield f"{workload.name}.upstream: runs outside sekisho's sandbox; its walls are its host's"
