"""Envoy, plain and secured: one worker; secured is JWT, local rate limit, RBAC and a JSON access log.

It reads heads only: nothing of a message is parsed, compared, scanned or recorded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.credentials import AUDIENCE, ISSUER, Credentials
from bench.environments import environment
from bench.processes import free_port, running, wait_port
from bench.stage import Stage, Start
from bench.way import Way

__all__ = ["STARTS"]

TYPES = "type.googleapis.com/envoy.extensions"
HTTP = "envoy.filters.http"
UNLIMITED = 100_000_000


def _typed(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"{TYPES}.{kind}", **fields}


def _filter(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": f"{HTTP}.{name}", "typed_config": _typed(f"filters.http.{kind}", **fields)}


def _security(ours: Credentials) -> list[dict[str, Any]]:
    provider = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"filename": str(ours.jwks_file)},
        "payload_in_metadata": "token",
        "jwt_cache_config": {"jwt_cache_size": 1000},  # as kind to it as our own remembered tokens are to us
    }
    bucket = {"max_tokens": UNLIMITED, "tokens_per_fill": UNLIMITED, "fill_interval": "1s"}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    subject = {
        "filter": f"{HTTP}.jwt_authn",
        "path": [{"key": "token"}, {"key": "sub"}],
        "value": {"string_match": {"prefix": "client"}},
    }
    named = {"header": {"name": ":path", "string_match": {"exact": "/mcp"}}}
    policy = {"permissions": [named], "principals": [{"metadata": subject}]}
    return [
        _filter(
            "jwt_authn",
            "jwt_authn.v3.JwtAuthentication",
            providers={"bench": provider},
            rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
        ),
        _filter(
            "local_ratelimit",
            "local_ratelimit.v3.LocalRateLimit",
            stat_prefix="limit",
            token_bucket=bucket,
            filter_enabled=always,
            filter_enforced=always,
        ),
        _filter("rbac", "rbac.v3.RBAC", rules={"action": "ALLOW", "policies": {"clients": policy}}),
    ]


def _access_log(path: Path) -> dict[str, Any]:
    line = {
        "time": "%START_TIME%",
        "client": f"%DYNAMIC_METADATA({HTTP}.jwt_authn:token:sub)%",
        "method": "%REQ(mcp-method)%",
        "name": "%REQ(mcp-name)%",
        "status": "%RESPONSE_CODE%",
        "ms": "%DURATION%",
    }
    kind = "access_loggers.file.v3.FileAccessLog"
    return {"name": "file", "typed_config": _typed(kind, path=str(path), log_format={"json_format": line})}


def _tls(ours: Credentials) -> dict[str, Any]:
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(ours.cert_file)},
                "private_key": {"filename": str(ours.key_file)},
            }
        ],
    }
    kind = "transport_sockets.tls.v3.DownstreamTlsContext"
    return {"transport_socket": {"name": "tls", "typed_config": _typed(kind, common_tls_context=common)}}


def _config(
    port: int,
    upstream: int,
    filters: Sequence[dict[str, Any]],
    logs: Sequence[dict[str, Any]],
    tls: dict[str, Any],
) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "plugin", "timeout": "0s"}}
    manager = _typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="front",
        http_filters=[*filters, _filter("router", "router.v3.Router")],
        access_log=list(logs),
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    )
    chain = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
        **tls,
    }
    limit = {"max_connections": 10_000, "max_pending_requests": 10_000, "max_requests": 10_000}
    endpoint = {"endpoint": {"address": _address(upstream)}}
    cluster = {
        "name": "plugin",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [limit]},
        "load_assignment": {"cluster_name": "plugin", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"name": "front", "address": _address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _start(stage: Stage, name: str, upstream: int, *, secured: bool = False, tls: bool = False) -> Way:
    program, port, folder = environment("envoy") / "envoy", free_port(), stage.make_folder(name)
    ours = stage.credentials
    filters, logs = (_security(ours), [_access_log(folder / "access.jsonl")]) if secured else ([], [])
    config, log = folder / "envoy.json", folder / "log.txt"
    config.write_text(json.dumps(_config(port, upstream, filters, logs, _tls(ours) if tls else {})))
    command: list[str | Path] = [
        program,
        "-c",
        config,
        "--concurrency",
        "1",
        "--log-level",
        "error",
        "--disable-hot-restart",
    ]
    process = stage.stack.enter_context(running(command, log))
    wait_port(process, port, log)
    return Way(
        port=port,
        root=process.pid,
        headers=(f"Authorization: Bearer {ours.token}",) if secured else (),
        ca_file=ours.ca_file if tls else None,
        upstream_port=upstream,
    )


STARTS: dict[str, Start] = {
    "envoy": lambda stage: _start(stage, "envoy", stage.upstream()),
    "envoy-secured": lambda stage: _start(stage, "envoy-secured", stage.upstream(), secured=True),
    "envoy-secured-tls": lambda stage: _start(
        stage, "envoy-secured-tls", stage.upstream(), secured=True, tls=True
    ),
    "envoy-many": lambda stage: _start(stage, "envoy-many", stage.upstream(tools=500, groups=10)),
}
