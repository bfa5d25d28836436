"""The `secrets` table: what a plugin may use without seeing it. Both files mean the same by it.

Guarantees that no value stands in the file, that each host which shall receive a secret can be reached at all, and
that the gate will be able to put the secret in: into plain HTTP anyway, into TLS only where it ends TLS itself.
Whether the value is there is asked when the plugin starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sekisho.config.field import Kind, Wrong, choice, described, flag, listed, text
from sekisho.errors import Misconfigured
from sekisho.policy import SecretGrant, SecretHost, SecretReference, permits
from sekisho.policy.grants import Grants
from sekisho.policy.secrets import DEFAULT_PLACES, PLACES

__all__ = ["check_secrets", "reference_at", "secrets_table"]

_EXPECTED: Final = (
    'a table NAME = { from = "env:NAME", "file:path", "keyring:service/user" or "credential:NAME", hosts = ["…"], '
    'environment = false, places = ["headers", "query"] }'
)
_KEYS: Final = ("from", "hosts", "environment", "places")


def secrets_table() -> Kind[tuple[SecretGrant, ...]]:
    """Secrets by the name of the variable in which the plugin finds its placeholder."""

    def read(value: object, folder: Path) -> tuple[SecretGrant, ...]:
        if not isinstance(value, dict):
            raise Wrong(f"is {described(value)}")
        return tuple(_secret(name, one, folder) for name, one in value.items())

    return Kind("table", _EXPECTED, read)


def reference_at(reference: str, folder: Path) -> SecretReference:
    """Read a reference; a relative file starts at the folder of the configuration."""
    parsed = SecretReference.parse(reference)
    return replace(parsed, where=str(folder / parsed.where)) if parsed.kind == "file" else parsed


def check_secrets(grants: Grants, *, upstream: str | None, settings: Mapping[str, str]) -> None:
    """Refuse a secret that could not reach its host, or would reach it by another way than stated."""
    if grants.network.intercept_tls and upstream:
        raise _wrong(
            "intercept_tls stands beside upstream, which runs outside the gate",
            "remove intercept_tls",
            "network_policy",
        )
    for secret in grants.secrets:
        if upstream:
            raise _wrong(
                f"{secret.name}: a server at a URL has no environment of ours",
                "send it with upstream_headers",
            )
        if secret.name in settings:
            raise _wrong(f"{secret.name} is a secret and one of the settings too", "keep one of the two")
        if not secret.in_environment:
            for host in secret.hosts:
                _check_host(secret.name, host, grants)


def _check_host(name: str, host: SecretHost, grants: Grants) -> None:
    if not permits(grants.network, host.host, host.port):
        raise _wrong(
            f"{name}: {host} is not a host and port the plugin may reach",
            f"add {host.host} to allowed_domains (and {host.port} to allowed_ports) of network_policy",
        )
    if host.is_secure and not grants.network.intercept_tls:
        raise _wrong(
            f"{name}: inside TLS to {host.host} the gate cannot put it in",
            "write intercept_tls = true in network_policy, or environment = true in the secret",
        )


def _secret(name: str, value: object, folder: Path) -> SecretGrant:
    if not isinstance(value, dict):  # it may be the secret; it is not repeated
        raise Wrong(f"{name} is no table", remedy=f'write {name} = {{ from = "file:…", hosts = ["…"] }}')
    for key in value:
        if key not in _KEYS:
            raise Wrong(f"{name} has the unknown key {key}", remedy=f"use {', '.join(_KEYS)}")
    if "from" not in value:
        raise Wrong(f"{name} does not say where its value is", remedy='add from = "file:…"')
    try:
        grant = SecretGrant(
            name=name,
            reference=_reference(value["from"], folder),
            hosts=tuple(map(SecretHost.parse, _read(listed(text()), value, "hosts", folder, ()))),
            in_environment=_read(flag(), value, "environment", folder, False),
            places=_read(listed(choice(*PLACES)), value, "places", folder, DEFAULT_PLACES),
        )
        Grants(secrets=(grant,))  # the name must be one that may be a variable at all
    except Misconfigured as problem:
        message = problem.message if name in problem.message else f"{name}: {problem.message}"
        raise Wrong(message, remedy=problem.remedy) from problem
    return grant


def _reference(value: object, folder: Path) -> SecretReference:
    return reference_at(value if isinstance(value, str) else "", folder)


def _read(kind: Kind[Any], table: Mapping[str, Any], key: str, folder: Path, default: Any) -> Any:
    if key not in table:
        return default
    try:
        return kind.read(table[key], folder)
    except Misconfigured as problem:
        raise Wrong(f"{key} {problem.message}; expected {kind.expected}") from problem


def _wrong(what: str, remedy: str, key: str = "secrets") -> Wrong:
    return Wrong(what, remedy=remedy, key=key)
