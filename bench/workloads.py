"""What is asked of every way: the workloads, as data. Which ways take part is part of the question."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OURS", "WORKLOADS", "Workload", "chosen", "peers_of"]

# Always measured; the others are peers and can be chosen.
OURS = frozenset(
    {
        "direct", "direct-many", "sekisho", "sekisho-stdio", "sekisho-written", "sekisho-tls", "sekisho-many",
        "sekisho-open", "sekisho-workers", "sekisho-pair",
    }
)  # fmt: skip

FAST = ("direct", "nginx", "envoy", "envoy-secured", "sekisho", "sekisho-stdio")
MODERN = ("direct", "nginx", "envoy", "envoy-secured", "sdk", "fastmcp", "sekisho", "sekisho-stdio")
LEGACY = (*MODERN, "contextforge")  # it refuses the modern era


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One question. `least` calls are waited for beyond the usual time, so that slow ways give a figure too."""

    name: str
    ways: tuple[str, ...]
    clients: int
    era: str = "modern"
    tool: str = "echo"
    kind: str = "echo"
    list_of: int = 0
    rate: float = 0
    events_per_call: int = 0
    least: int = 40
    waits_for_disk: bool = False
    about: str = ""


WORKLOADS: tuple[Workload, ...] = (
    Workload(
        name="small, 1 client, modern", ways=MODERN, clients=1, least=30, about="one small call at a time"
    ),
    Workload(name="small, 1 client, legacy", ways=LEGACY, clients=1, era="legacy", least=30),
    Workload(
        name="small, 32 clients, modern",
        ways=(*MODERN, "sekisho-open", "sekisho-workers", "sekisho-pair", "nginx-workers", "fastmcp-stock"),
        clients=32,
        least=64,
    ),
    Workload(
        name="small, 32 clients, legacy", ways=(*LEGACY, "fastmcp-stock"), clients=32, era="legacy", least=64
    ),
    Workload(name="small, 256 clients, modern", ways=FAST, clients=256, least=512),
    Workload(name="small, 256 clients, legacy", ways=FAST, clients=256, era="legacy", least=512),
    Workload(
        name="open loop, 2000/s",
        ways=FAST,
        clients=32,
        rate=2000,
        about="calls are due every 500 µs; latency counts from the time they were due",
    ),
    Workload(
        name="effects, 1 client",
        ways=("direct", "nginx", "sekisho", "sekisho-written"),
        clients=1,
        tool="store",
        waits_for_disk=True,
        about='a tool without the promise to change nothing: durability = "effects" waits for the disk',
    ),
    Workload(
        name="list of 500 tools, 8 clients",
        ways=("direct-many", "nginx-many", "envoy-many", "sekisho-many"),
        clients=8,
        list_of=500,
        about="Sekisho: 10 plugins with 50 tools each; the others: one server with all 500",
    ),
    Workload(name="1 MiB result, 8 clients", ways=MODERN, clients=8, tool="big", kind="big", least=24),
    Workload(
        name="10 progress notifications, 8 clients",
        ways=MODERN,
        clients=8,
        tool="steps",
        kind="steps",
        events_per_call=10,
    ),
    Workload(
        name="TLS 1.3 in front, 32 clients",
        ways=("direct", "nginx", "nginx-tls", "envoy-secured-tls", "sekisho", "sekisho-tls"),
        clients=32,
        least=64,
    ),
)


def chosen(only: str) -> tuple[Workload, ...]:
    """The workloads whose name contains the text."""
    return tuple(one for one in WORKLOADS if only.lower() in one.name.lower())


def peers_of(workloads: tuple[Workload, ...], peers: frozenset[str] | None) -> frozenset[str]:
    """Every way these workloads need: ours, and of the peers those wanted (`envoy` means its variants too)."""
    needed = frozenset(way for one in workloads for way in one.ways)
    if peers is None:
        return needed
    return frozenset(way for way in needed if way in OURS or is_wanted(way, peers))


def is_wanted(way: str, peers: frozenset[str]) -> bool:
    """A peer is wanted by its name, or by that of the one it is a variant of."""
    return any(way in (peer, f"{peer}-tls", f"{peer}-many", f"{peer}-workers") for peer in peers)
