"""Everything one plugin server needs to know, from either of the two files.

Guarantees that it knows the one core it serves by pinned keys before it listens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sekisho.assembly.identities import core_id, plugin_id
from sekisho.assembly.orders import Orders, orders_of
from sekisho.assembly.places import Places
from sekisho.config import PluginLimits, Workload, check_paths, load_core, load_plugin
from sekisho.errors import Misconfigured, SekishoError
from sekisho.keys import Identity, KeyFolder, PeerRule, Role, SpiffeId
from sekisho.policy import METHODS
from sekisho.protocol import JsonLimits
from sekisho.wire import Address, TcpAddress, UnixAddress

__all__ = ["Post", "from_core_file", "from_orders", "from_plugin_file"]

HEALTH_INTERVAL_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Everything one plugin server needs to know."""

    workload: Workload
    address: Address
    identity: Identity
    ca_pem: bytes
    core: PeerRule
    core_token_public: bytes
    ops: frozenset[str] | None  # None: what the core's token names is the only limit
    gate_of: Callable[[int], Path]
    lease_path: Path
    health_interval_s: float
    keys: KeyFolder
    limits: PluginLimits
    places: Places
    log_level: str = "INFO"

    @property
    def message_limits(self) -> JsonLimits:
        """What one message of the plugin may be."""
        return JsonLimits(
            max_bytes=self.limits.max_line_bytes,
            max_depth=self.limits.max_depth,
            max_members=self.limits.max_members,
            max_string_bytes=self.limits.max_string_bytes,
        )


def from_core_file(config_path: Path, home: Path, name: str) -> Post:
    """The post of a plugin that the core file holds."""
    return from_orders(orders_of(load_core(config_path), name), config_path, home)


def from_orders(orders: Orders, config_path: Path, home: Path) -> Post:
    """The post of a plugin whose core file somebody else has read."""
    workload, domain = orders.workload, orders.trust_domain
    places = Places(home=home, config=config_path)
    keys = KeyFolder(places.keys, domain)
    core = keys.public_identity(core_id(domain))
    return Post(
        workload=workload,
        address=UnixAddress(path=str(places.plugin_socket(workload.name))),
        identity=keys.identity(plugin_id(domain, workload.name)),
        ca_pem=keys.ca_pem(),
        core=core.rule,
        core_token_public=core.token_public,
        ops=frozenset(orders.operations) | METHODS,
        gate_of=partial(places.gate_socket, workload.name),
        lease_path=places.lease_socket(workload.name),
        health_interval_s=orders.health_interval_s,
        keys=keys,
        limits=orders.limits,
        places=places,
        log_level=orders.log_level,
    )


def from_plugin_file(config_path: Path, home: Path) -> Post:
    """The post that a plugin file describes."""
    config = load_plugin(config_path)
    check_paths(config)
    server = config.plugin_server
    places = Places(home=home, config=config_path)
    keys = KeyFolder(places.keys)
    core = _known_core(keys, server.core_server_url)
    spiffe = plugin_id(keys.trust_domain, config.name)
    if keys.holds_authority:
        keys.ensure_identity(spiffe, time.time(), dns=(config.name,))
    identity = keys.identity(spiffe)
    if server.tls_cert_path is not None and server.tls_key_path is not None:
        identity = replace(identity, cert_path=server.tls_cert_path, key_path=server.tls_key_path)
    ca_path = server.ca_cert_path
    return Post(
        workload=config.workload,
        address=TcpAddress(host=server.bind_addr.host, port=server.bind_addr.port),
        identity=identity,
        ca_pem=ca_path.read_bytes() if ca_path is not None else keys.ca_pem(),
        core=core[0],
        core_token_public=core[1],
        ops=None if server.allowed_operations is None else frozenset(server.allowed_operations) | METHODS,
        gate_of=partial(places.gate_socket, config.name),
        lease_path=places.lease_socket(config.name),
        health_interval_s=HEALTH_INTERVAL_S,
        keys=keys,
        limits=config.limits,
        places=places,
    )


def _known_core(keys: KeyFolder, url: str | None) -> tuple[PeerRule, bytes]:
    """The one core that may connect: its pinned keys, and the host name that the file states."""
    spiffe = SpiffeId(trust_domain=keys.trust_domain, role=Role.CORE, name="main")
    try:
        public = keys.public_identity(spiffe)
    except SekishoError as error:
        raise Misconfigured(
            "key_unavailable",
            "the core's public keys are not here",
            remedy=f"copy public/core-main.json of the core into {keys.path / 'public'}",
        ) from error
    host = urlsplit(url).hostname if url is not None else None
    rule = public.rule if host is None else replace(public.rule, dns=host)
    return rule, public.token_public
