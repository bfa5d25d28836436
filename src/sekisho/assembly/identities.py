"""Who the processes of one installation are to each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.config import CoreConfig
from sekisho.keys import KeyFolder, Role, SpiffeId

__all__ = [
    "DEFAULT_CLIENT",
    "audit_key",
    "core_id",
    "core_names",
    "ensure_all",
    "front_id",
    "front_names",
    "host_only",
    "plugin_id",
    "renew_all",
]

DEFAULT_CLIENT: Final = "owner"  # the client whose token is made at first start


def core_id(trust_domain: str) -> SpiffeId:
    """The core."""
    return SpiffeId(trust_domain=trust_domain, role=Role.CORE, name="main")


def front_id(trust_domain: str) -> SpiffeId:
    """The face the core shows to clients; a key of its own, because clients are strangers."""
    return SpiffeId(trust_domain=trust_domain, role=Role.CORE, name="front")


def plugin_id(trust_domain: str, name: str) -> SpiffeId:
    """The plugin server of one plugin."""
    return SpiffeId(trust_domain=trust_domain, role=Role.PLUGIN, name=name)


def front_names(config: CoreConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """DNS names and addresses that the front's certificate carries."""
    server = config.core_server
    hosts = {host_only(host) for host in server.allowed_hosts}
    names = {"localhost", *(host for host in hosts if not _is_address(host))}
    addresses = {"127.0.0.1", *(host.strip("[]") for host in hosts if _is_address(host))}
    if server.bind_addr.host not in ("0.0.0.0", "::"):
        (addresses if _is_address(server.bind_addr.host) else names).add(server.bind_addr.host)
    return tuple(sorted(names)), tuple(sorted(addresses))


def core_names(config: CoreConfig) -> tuple[str, ...]:
    """Host names the core is known by: a plugin file may ask for one of them in `core_server_url`."""
    hosts = {host_only(host) for host in config.core_server.allowed_hosts}
    return tuple(sorted(host for host in hosts if not _is_address(host)))


def ensure_all(keys: KeyFolder, config: CoreConfig, plugins: Iterable[str], now: float) -> None:
    """Make everything the processes of this machine need; what is there and good stays."""
    domain = config.core_server.trust_domain
    keys.ensure_authority(now)
    keys.ensure_identity(core_id(domain), now, dns=core_names(config))
    names, addresses = front_names(config)
    keys.ensure_identity(front_id(domain), now, dns=names, ips=addresses)
    for name in plugins:
        keys.ensure_identity(plugin_id(domain, name), now)


def renew_all(keys: KeyFolder, config: CoreConfig, plugins: Iterable[str], now: float) -> None:
    """Issue again what has lived half its life; the processes pick the files up by themselves."""
    domain = config.core_server.trust_domain
    for spiffe in (core_id(domain), front_id(domain), *(plugin_id(domain, name) for name in plugins)):
        keys.renew_if_half_life(spiffe, now)


def audit_key(keys: KeyFolder) -> Ed25519PrivateKey:
    """The key that signs the log's checkpoints."""
    return Ed25519PrivateKey.from_private_bytes(keys.ensure_secret("audit-log"))


def host_only(text: str) -> str:
    """A host name or address without its port: `[::1]:8443` and `[::1]` are both `[::1]`."""
    return text if text.endswith("]") else text.rpartition(":")[0] or text


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
