"""Every way by its name: how it is started, and what people call it."""

from __future__ import annotations

from bench.peers import contextforge, envoy, nginx, proxies, sekisho
from bench.stage import Stage, Start
from bench.way import Way

__all__ = ["LABELS", "STARTS"]


def _direct(stage: Stage) -> Way:
    return Way(port=stage.upstream(), upstream_port=stage.upstream())


def _direct_many(stage: Stage) -> Way:
    return Way(port=stage.upstream(tools=500, groups=10))


STARTS: dict[str, Start] = {
    "direct": _direct,
    "direct-many": _direct_many,
    **nginx.STARTS,
    **envoy.STARTS,
    **proxies.STARTS,
    **contextforge.STARTS,
    **sekisho.STARTS,
}

LABELS: dict[str, str] = {
    "direct": "direct",
    "direct-many": "direct",
    "nginx": "nginx",
    "nginx-workers": "nginx, 2 workers",
    "nginx-tls": "nginx, TLS 1.3",
    "nginx-many": "nginx",
    "envoy": "Envoy",
    "envoy-many": "Envoy",
    "envoy-secured": "Envoy: JWT, rate limit, RBAC, log",
    "envoy-secured-tls": "Envoy secured, TLS 1.3",
    "sdk": "SDK proxy, one shared client",
    "fastmcp": "FastMCP proxy, tuned",
    "fastmcp-stock": "FastMCP proxy, as installed",
    "contextforge": "ContextForge, tuned",
    "sekisho": "Sekisho, HTTP upstream",
    "sekisho-stdio": "Sekisho, stdio behind the wall",
    "sekisho-written": 'Sekisho, durability = "written"',
    "sekisho-tls": "Sekisho, TLS 1.3",
    "sekisho-workers": "Sekisho, HTTP upstream, 2 workers",
    "sekisho-pair": "Sekisho, HTTP upstream, two of them side by side",
    "sekisho-many": "Sekisho, 10 plugins",
    "sekisho-open": "Sekisho, security off, core alone",
}
