"""One cell of a table: one way, one workload, one round. Runs the load generator and reads what it says."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bench.processes import BenchFailed, processor_ns
from bench.tools import LOAD
from bench.way import Way
from bench.workloads import Workload

__all__ = ["Pace", "Sample", "hold_sessions", "load_command", "measure"]

LIMIT_S = 150.0  # the load generator ends by itself long before


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a cell is measured."""

    seconds: float
    warm_s: float
    most_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one cell came to. `cpu_us` is the processor time of one good call, by part of the gateway."""

    good: int
    bad: int
    calls_per_s: float
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float
    events_per_call: float
    requests_per_call: float
    first_bad: str
    cpu_us: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_cpu_us(self) -> float:
        """All parts together."""
        return sum(self.cpu_us.values())


def measure(way: Way, workload: Workload, pace: Pace) -> Sample:
    """Put the workload on the way."""
    before = way.processes()
    command = [
        *load_command(way, workload),
        *("--seconds", str(pace.seconds), "--warm", str(pace.warm_s), "--most", str(pace.most_s)),
        *("--least", str(workload.least)),
    ]
    if before:
        command += ["--watch", ",".join(map(str, before))]
    count = _posts(way)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise BenchFailed("the load generator did not end") from error
    if done.returncode != 0:
        raise BenchFailed(f"the load generator failed: {done.stderr.strip()}")
    told = json.loads(done.stdout)
    spent = dict.fromkeys(before.values(), 0)
    for part, used in zip(before.values(), told["cpu_ns"], strict=True):
        spent[part] += max(0, used)
    for pid, part in way.processes().items():
        if pid not in before:  # started meanwhile: all it has used belongs to these calls
            spent[part] = spent.get(part, 0) + processor_ns(pid)
    return _sample(told, spent, _posts(way) - count)


def load_command(way: Way, workload: Workload) -> list[str]:
    """The words that aim the load generator."""
    command = [str(LOAD), "--port", str(way.port), "--path", way.path]
    if way.beside is not None:
        command += ["--also", str(way.beside.port)]
    command += ["--era", workload.era, "--clients", str(workload.clients)]
    if workload.list_of:
        command += ["--list", str(workload.list_of)]
    else:
        command += ["--tool", way.tool.format(workload.tool), "--kind", workload.kind]
    if workload.rate:
        command += ["--rate", str(workload.rate)]
    for line in way.headers:
        command += ["--header", line]
    if way.ca_file is not None:
        command += ["--ca", str(way.ca_file)]
    return command


@contextlib.contextmanager
def hold_sessions(way: Way, count: int, how: str) -> Iterator[int]:
    """Open legacy sessions, with their connections left ("leave") or kept ("hold") until the block ends."""
    command = load_command(way, Workload(name="sessions", ways=(), clients=count, era="legacy"))
    with subprocess.Popen(
        [*command, "--sessions", how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        _, _, told = process.stdout.readline().partition(" ")
        opened, _, why = told.partition(" ")
        if int(opened or 0) < count:
            process.kill()
            raise BenchFailed(f"{opened} of {count} sessions were opened: {why.strip()}")
        yield count
        process.communicate()  # ends its input, at which it ends


def _sample(told: Mapping[str, object], spent: Mapping[str, int], posts: int) -> Sample:
    def number(name: str) -> float:
        value = told[name]
        assert isinstance(value, int | float)
        return value

    good = int(number("good"))
    return Sample(
        good=good,
        bad=int(number("bad")),
        calls_per_s=number("calls_per_s"),
        p50_us=number("p50_us"),
        p90_us=number("p90_us"),
        p99_us=number("p99_us"),
        max_us=number("max_us"),
        events_per_call=number("events") / good if good else 0.0,
        requests_per_call=posts / number("requests") if number("requests") else 0.0,
        first_bad=str(told["first_bad"]),
        cpu_us={part: used / good / 1e3 for part, used in spent.items()} if good else {},
    )


def _posts(way: Way) -> int:
    """How many requests have reached the upstream."""
    if way.upstream_port is None:
        return 0
    connection = http.client.HTTPConnection("127.0.0.1", way.upstream_port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/count")
        return int(connection.getresponse().read())
