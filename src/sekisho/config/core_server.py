"""The table `core_server`: the door for MCP clients, and the one for operators.

Guarantees that plain HTTP is served only where nobody else can listen.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sekisho.config.field import Wrong, choice, flag, listed, path, setting, text, whole
from sekisho.config.values import BindAddress, bind_address, check_pair

__all__ = ["CoreServer"]

HOST_HEADER = r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
TRUST_DOMAIN = r"[a-z0-9]([a-z0-9.-]{0,253}[a-z0-9])?"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreServer:
    """`core_server`: the door for MCP clients."""

    bind_addr: BindAddress = setting(
        bind_address(),
        "Address the door listens on; port 0 chooses a free one.",
        default=BindAddress("127.0.0.1", 8080),
    )
    tls_cert_path: Path | None = setting(
        path(), "Certificate shown to clients, PEM; else one of sekisho's own authority.", default=None
    )
    tls_key_path: Path | None = setting(path(), "Private key of that certificate, PEM.", default=None)
    ca_cert_path: Path | None = setting(
        path(), "Authority of the plugin servers' certificates, PEM; else sekisho's own.", default=None
    )
    tls: Literal["on", "off"] = setting(
        choice("on", "off"), '"off" serves plain HTTP, and is accepted only on loopback.', default="on"
    )
    allowed_hosts: tuple[str, ...] = setting(
        listed(text(HOST_HEADER, "a host name, or host:port")),
        "Host names a request may name, besides those of bind_addr.",
        default=(),
    )
    allowed_origins: tuple[str, ...] = setting(
        listed(text(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", "an origin such as https://app.example.com")),
        "Web pages that may call, by origin; none unless listed.",
        default=(),
    )
    status_addr: BindAddress | None = setting(
        bind_address(may_be_off=True),
        'Address of /healthz, /readyz and /metrics, or "off".',
        default=BindAddress("127.0.0.1", 9464),
    )
    workers: int = setting(
        whole(0, 32),
        "Core processes that `sekisho up` starts behind the port; 0 is one for each CPU.",
        default=1,
    )
    legacy_sse: bool = setting(
        flag(),
        "Also serve the HTTP+SSE transport of 2024-11-05, at /sse and /p/<plugin>/sse; with one worker only.",
        default=False,
    )
    trust_domain: str = setting(
        text(TRUST_DOMAIN, "a domain name in small letters"),
        "Name of this installation inside every certificate (SPIFFE).",
        default="sekisho.local",
    )

    def __post_init__(self) -> None:
        if self.tls == "off" and not self.bind_addr.is_loopback:
            raise Wrong(
                f'is "off" while bind_addr is {self.bind_addr}; expected "on" on every address but loopback',
                remedy='set tls = "on", or bind_addr = "127.0.0.1:8080"',
                key="tls",
            )
        check_pair(self.tls_cert_path, self.tls_key_path)
        if self.legacy_sse and self.workers != 1:
            raise Wrong(
                "is true with several workers; a stream and its posts would meet in one process only by chance",
                remedy="set workers = 1, or legacy_sse = false",
                key="legacy_sse",
            )
