"""`limits`: how much one message, one connection and one client may cost the house.

Every bound that a stranger or a plugin can run into has a name, a unit and a default here; the body of a request
and the calls of all clients have theirs in `security`. Knows no enforcer: `assembly` hands each number to the one
part that counts it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.config.field import number, setting, whole

__all__ = ["Limits", "PluginLimits"]

_MB = 1 << 20
_SECONDS = number(0.05, 86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginLimits:
    """`limits` of a plugin file: what one message from or to the plugin may cost."""

    max_line_bytes: int = setting(
        whole(4096, 48 * _MB), "Largest message of a plugin: line, event or body.", default=16 * _MB
    )
    max_depth: int = setting(whole(8, 500), "Deepest nesting of one message.", default=64)
    max_members: int = setting(
        whole(64, 10_000_000), "Most members, items and containers of one message.", default=100_000
    )
    max_string_bytes: int = setting(
        whole(1024, 1024 * _MB), "Longest string of one message, as it is written.", default=16 * _MB
    )
    max_queued_bytes: int = setting(
        whole(4096, 1024 * _MB),
        "Bytes that may wait for a plugin to read them; calls beyond are refused.",
        default=32 * _MB,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(PluginLimits):
    """`limits`: what one message, one connection and one client may cost."""

    max_head_bytes: int = setting(
        whole(1024, _MB), "Largest request line and headers together.", default=32 << 10
    )
    max_headers: int = setting(whole(8, 10_000), "Most headers of one request.", default=100)
    max_connections: int = setting(
        whole(2, 1_000_000), "Open connections; beyond it the idlest is shed.", default=1024
    )
    max_connections_per_client: int = setting(
        whole(1, 1_000_000), "Open connections of one client, counted from its first token.", default=512
    )
    max_pipelined: int = setting(
        whole(1, 10_000), "Requests that may wait on one connection for the answer before them.", default=32
    )
    max_unsent_bytes: int = setting(
        whole(1024, 1024 * _MB),
        "Answer bytes a client may leave unread before it is on the clock.",
        default=64 << 10,
    )
    max_held_bytes: int = setting(
        whole(4096, 1 << 40),
        "Bytes held for all connections: unfinished bodies, requests that wait and unread answers.",
        default=256 * _MB,
    )
    max_in_flight_per_client: int = setting(
        whole(1, 1_000_000), "Calls of one client under way at one time.", default=256
    )
    max_in_flight_per_plugin: int = setting(
        whole(1, 1_000_000), "Calls under way at one plugin at one time.", default=512
    )
    max_in_flight_bytes: int = setting(
        whole(4096, 1 << 40),
        "Bytes of calls and results of more than 64 KiB under way at one time, of all clients.",
        default=128 * _MB,
    )
    max_in_flight_bytes_per_client: int = setting(
        whole(4096, 1 << 40), "The same of one client; a single one may always be.", default=64 * _MB
    )
    max_batch_messages: int = setting(
        whole(1, 1000),
        "Messages of one batch, which only sessions of 2025-03-26 may send; each is a call of its own.",
        default=32,
    )
    max_streams_per_client: int = setting(
        whole(1, 1_000_000),
        "Calls of one client whose progress is told at one time; more are answered without.",
        default=256,
    )
    max_new_sessions_per_minute: int = setting(
        whole(1, 60_000_000),
        "Sessions one client may open in a minute; open ones cost no memory.",
        default=6000,
    )
    max_ended_sessions: int = setting(
        whole(1, 10_000_000), "Ended sessions that are remembered until they expire.", default=100_000
    )
    handshake_timeout_seconds: float = setting(_SECONDS, "Time for the TLS handshake.", default=10.0)
    receive_timeout_seconds: float = setting(
        _SECONDS, "Time for a whole request, from its first byte.", default=30.0
    )
    send_timeout_seconds: float = setting(
        _SECONDS, "Time a client may leave more than max_unsent_bytes unread.", default=30.0
    )
    idle_timeout_seconds: float = setting(
        _SECONDS, "Time a connection may stay open between two requests.", default=300.0
    )
