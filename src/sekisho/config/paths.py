"""Asks, at start, whether every path a configuration names can be used.

Guarantees that a missing certificate or folder is reported with file, line and key before anything listens.
It looks and changes nothing; writable paths are not asked for, since the walls create what a plugin may
write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sekisho.config.bind import refusal
from sekisho.config.core import CoreConfig
from sekisho.config.locate import KeyPath, Source
from sekisho.config.plugin import PluginConfig
from sekisho.config.workload import Workload
from sekisho.errors import Misconfigured

__all__ = ["check_paths"]


def check_paths(config: CoreConfig | PluginConfig) -> None:
    """Raise Misconfigured for the first path that cannot be read."""
    for key, path, what in _core_paths(config) if isinstance(config, CoreConfig) else _plugin_paths(config):
        if path is not None:
            _check(config.source, key, path, what)


_Asked = tuple[KeyPath, Path | None, str]


def _core_paths(config: CoreConfig) -> Iterator[_Asked]:
    for name in ("tls_cert_path", "tls_key_path", "ca_cert_path"):
        yield ("core_server", name), getattr(config.core_server, name), "file"
    yield ("auth", "client_ca_path"), config.auth.client_ca_path, "file"
    for index, issuer in enumerate(config.auth.issuers):
        for name in ("client_secret_path", "ca_cert_path"):
            yield ("auth", "issuers", index, name), getattr(issuer, name), "file"
    for index, entry in enumerate(config.plugins.servers):
        here: KeyPath = ("plugins", "servers", index)
        yield (*here, "cert_path"), entry.cert_path, "file"
        yield from _workload_paths(entry.workload, here, here)


def _plugin_paths(config: PluginConfig) -> Iterator[_Asked]:
    for name in ("tls_cert_path", "tls_key_path", "ca_cert_path"):
        yield ("plugin_server", name), getattr(config.plugin_server, name), "file"
    yield from _workload_paths(config.workload, ("plugin_server",), ())


def _workload_paths(workload: Workload, server: KeyPath, tables: KeyPath) -> Iterator[_Asked]:
    """Paths of a plugin that is started here; those of a plugin elsewhere are asked for there."""
    if not (workload.command or workload.package):
        return
    yield (*server, "working_directory"), workload.working_directory, "folder"
    for path in workload.runtime_paths:
        yield (*server, "runtime_paths"), path, "path"
    for text in workload.grants.files.read_only_paths:
        yield (*tables, "filesystem_policy", "read_only_paths"), Path(text), "path"


def _check(source: Source, key: KeyPath, path: Path, what: str) -> None:
    try:
        if what == "folder":
            next(path.iterdir(), None)
        elif what == "file":
            with path.open("rb") as file:
                file.read(1)
        else:
            path.stat()
    except OSError as problem:
        reason = (problem.strerror or "unknown reason").lower()
        raise _unreadable(source, key, path, what, reason) from problem


def _unreadable(source: Source, key: KeyPath, path: Path, what: str, reason: str) -> Misconfigured:
    return refusal(
        source, key, f"{path} cannot be read: {reason}", f"a readable {what}", "correct the path or its owner"
    )
