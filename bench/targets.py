"""What was aimed at, as data, and whether a run reached it. Pure.

A target names a figure of one way in one workload, or a `single` figure that is no call's (memory, starts, the disk).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.figures import cpu_ratio, difference, events_per_call, middle, ratio
from bench.measure import Sample
from bench.results import Measured

__all__ = ["TARGETS", "Target", "Verdict", "judge"]

Figure = Literal[
    "cpu ratio", "cpu less", "cpu added", "calls/s", "added p50", "added p99", "p99 ratio", "events", "single"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One line of the list. `most` or `least` is the bound; `stretch` is what would be better still."""

    about: str
    figure: Figure
    unit: str
    workload: str = ""
    way: str = "sekisho"
    against: str = ""
    part: str = ""
    single: str = ""
    most: float | None = None
    least: float | None = None
    stretch: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A target, what was measured, and whether that is enough; None where nothing was measured."""

    target: Target
    value: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the bound holds."""
        if self.value is None:
            return None
        most, least = self.target.most, self.target.least
        return (most is None or self.value <= most) and (least is None or self.value >= least)


def judge(results: Sequence[Measured], singles: Mapping[str, float]) -> list[Verdict]:
    """Every target beside its figure."""
    by_name = {one.workload.name: one for one in results}
    return [Verdict(target=one, value=_value(one, by_name, singles)) for one in TARGETS]


def _value(target: Target, results: Mapping[str, Measured], singles: Mapping[str, float]) -> float | None:
    if target.figure == "single":
        return singles.get(target.single)
    if target.workload not in results:
        return None
    rounds, way, against = results[target.workload].rounds, target.way, target.against
    match target.figure:
        case "cpu ratio":
            return cpu_ratio(rounds, way, against, target.part)
        case "cpu less":
            return cpu_ratio(rounds, against, way)
        case "cpu added":
            return difference(rounds, way, against, lambda sample: _cpu_of(sample, target.part))
        case "calls/s":
            return middle(rounds, way, lambda sample: sample.calls_per_s)
        case "added p50":
            return difference(rounds, way, against, lambda sample: sample.p50_us)
        case "added p99":
            return difference(rounds, way, against, lambda sample: sample.p99_us)
        case "p99 ratio":
            return ratio(rounds, way, against, lambda sample: sample.p99_us)
        case "events":
            return events_per_call(rounds, way)


def _cpu_of(sample: Sample, part: str) -> float:
    """Of this part, where the way has parts; a core measured alone has none."""
    return sample.cpu_us.get(part, sample.total_cpu_us)


MODERN, LEGACY = "small, 32 clients, modern", "small, 32 clients, legacy"
EFFECTS, STEPS = "effects, 1 client", "10 progress notifications, 8 clients"

TARGETS: tuple[Target, ...] = (
    Target(
        about="small calls, 32 clients: core",
        figure="cpu ratio", unit="× nginx", workload=MODERN, part="core", against="nginx", most=2, stretch=1.5,
    ),
    Target(
        about="the same, core and plugin server",
        figure="cpu ratio", unit="× nginx", workload=MODERN, against="nginx", most=4, stretch=2.5,
    ),
    Target(
        about="the same in a session (2025-11-25): core",
        figure="cpu ratio", unit="× nginx", workload=LEGACY, part="core", against="nginx", most=2, stretch=1.5,
    ),
    Target(
        about="the same, core and plugin server",
        figure="cpu ratio", unit="× nginx", workload=LEGACY, against="nginx", most=4, stretch=2.5,
    ),
    Target(
        about="beside Envoy with JWT, rate limit, RBAC, log",
        figure="cpu ratio", unit="× Envoy", workload=MODERN, against="envoy-secured", most=1.5,
    ),
    Target(
        about="beside FastMCP's proxy, tuned",
        figure="cpu less", unit="times less CPU", workload=MODERN, against="fastmcp", least=150,
    ),
    Target(
        about="the same in a session",
        figure="cpu less", unit="times less CPU", workload=LEGACY, against="fastmcp", least=150,
    ),
    Target(
        about="beside ContextForge, tuned (sessions only)",
        figure="cpu less", unit="times less CPU", workload=LEGACY, against="contextforge", least=300,
    ),
    Target(
        about="small calls, 32 clients",
        figure="calls/s", unit="calls/s", workload=MODERN, least=15_000, stretch=30_000,
    ),
    Target(
        about="256 clients on a stdio plugin",
        figure="cpu ratio", unit="× nginx", workload="small, 256 clients, modern", way="sekisho-stdio",
        against="nginx", most=3,
    ),
    Target(
        about='one client, durability = "written": added p50',
        figure="added p50", unit="µs", workload=EFFECTS, way="sekisho-written", against="direct", most=250,
    ),
    Target(
        about='one client, durability = "written": added p99',
        figure="added p99", unit="µs", workload=EFFECTS, way="sekisho-written", against="direct", most=600,
    ),
    Target(
        about='"effects" over "written", in units of one fdatasync, back to back',
        figure="single", unit="fdatasyncs", single="effects_fdatasyncs", most=1.25,
    ),
    Target(
        about="the same, of one at the pace of a lone client",
        figure="single", unit="fdatasyncs", single="effects_paced_fdatasyncs", most=1.25,
    ),
    Target(
        about="open loop at 2,000/s: p99",
        figure="p99 ratio", unit="× nginx", workload="open loop, 2000/s", against="nginx", most=5,
    ),
    Target(
        about="list of 500 tools of 10 plugins",
        figure="cpu ratio", unit="× nginx", workload="list of 500 tools, 8 clients", way="sekisho-many",
        against="nginx-many", most=1,
    ),
    Target(
        about="1 MiB result, scanned and hashed",
        figure="cpu ratio", unit="× nginx", workload="1 MiB result, 8 clients", against="nginx", most=5,
    ),
    Target(
        about="event stream with 10 notifications",
        figure="cpu ratio", unit="× nginx", workload=STEPS, against="nginx", most=3,
    ),
    Target(about="the same: notifications that arrive", figure="events", unit="of 10", workload=STEPS, least=10),
    Target(
        about="TLS 1.3 in front",
        figure="cpu ratio", unit="× without", workload="TLS 1.3 in front, 32 clients", way="sekisho-tls",
        against="sekisho", most=1.3,
    ),
    Target(about="idle core", figure="single", unit="MiB (PSS)", single="core_pss_mib", most=60),
    Target(about="each idle session", figure="single", unit="KiB", single="session_kib", most=2),
    Target(
        about="each further plugin server",
        figure="single", unit="MiB private", single="plugin_server_private_mib", most=12,
    ),
    Target(
        about="Python SDK plugin, started again behind the wall",
        figure="single", unit="ms", single="python_again_ms", most=80,
    ),
    Target(
        about="sekisho up to first call, native plugin",
        figure="single", unit="ms", single="up_native_ms", most=1000,
    ),
    Target(
        about="all security on over the same gateway with it off",
        figure="cpu added", unit="µs", workload=MODERN, way="sekisho-stdio", part="core", against="sekisho-open",
        most=15,
    ),
    Target(
        about="two workers (nothing per call; 10 % is noise)",
        figure="cpu ratio", unit="× one worker", workload=MODERN, way="sekisho-workers", against="sekisho", most=1.1,
    ),
    Target(
        about="two workers over two whole gateways side by side",
        figure="cpu ratio", unit="× two gateways", workload=MODERN, way="sekisho-workers", against="sekisho-pair",
        most=1.1,
    ),
    Target(about="sandbox start over bare exec", figure="single", unit="ms", single="walls_over_bare_ms", most=15),
    Target(about="sandbox start, of what srt adds", figure="single", unit="× srt", single="walls_of_srt", most=0.1),
    Target(
        about="Python server to its answer to initialize, behind the wall",
        figure="single", unit="× bare", single="handshake_python_ratio", most=1.1,
    ),
    Target(
        about="Node.js server to its answer to initialize, behind the wall",
        figure="single", unit="× bare", single="handshake_node_ratio", most=1.1,
    ),
    Target(
        about="throughput of the egress gate, one connection",
        figure="single", unit="× a plain relay", single="relay_of_plain", least=0.5,
    ),
)  # fmt: skip
