"""What others notice of a flood: `python -m bench.floods [--rounds N] [--seconds S] [--only TEXT] [--aside]`.

An honest client calls at a steady rate, alone and then during each flood; floods come from a process of their own. Prints
p50, p99 and the ratio to the idle p99 of the same round; the goal is at most 2. On a machine with few processors the
flood's own processor time is part of what is measured. How much it is says the same flood against a process that does
next to nothing (`bench.crowds`), and a run with `--aside`, where the flood gets only the processor time that nobody else
wants. Also prints how long new connections of the honest client wait for their first answer, and the flood's own
processor time, which says whether a flood that stands aside is as strong.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.crowds import FLOODS, call
from bench.house import House, house, stdio_plugin, write_config
from bench.processes import first_line, processor_ns, running
from sekisho import testing
from sekisho.keys import KeyFolder, ensure_bearer

__all__ = ["main"]

CALLS_PER_SECOND = 200
NEWCOMERS = 20
BETWEEN_S = 0.05  # newcomers
ECHO = Path(testing.__file__).with_name("echo.py")
GOAL = 2.0


def main(arguments: Sequence[str]) -> int:
    """Measure each flood and say what was found."""
    parser = argparse.ArgumentParser(prog="bench.floods", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--aside", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), options)
    return 0


def _measure(folder: Path, options: argparse.Namespace) -> None:
    plugin = stdio_plugin("e", [sys.executable, ECHO], ECHO, tools=("echo", "slow"))
    config = write_config(folder / "house", [plugin], durability="written")
    aside = ["aside"] if options.aside else []
    with contextlib.ExitStack() as stack:
        gate = stack.enter_context(house(config))
        token = _second_client(folder / "house" / "state", gate)
        for name in (name for name in FLOODS if options.only in name):
            found = []
            control = FLOODS[name][1]
            for _ in range(options.rounds):
                idle = _at(_latencies(gate, token, options.seconds), 99)
                with _process(folder, name, str(gate.port), gate.token, *aside) as (flood, _):
                    spent = processor_ns(flood.pid)
                    busy = _latencies(gate, token, options.seconds)
                    strength = (processor_ns(flood.pid) - spent) / options.seconds / 1e7
                    wait = max(_newcomer(gate, token) for _ in range(NEWCOMERS))
                elsewhere = 0.0
                if control is not None:
                    with (
                        _process(folder, control) as (_, port),
                        _process(folder, name, port, gate.token, *aside),
                    ):
                        elsewhere = _at(_latencies(gate, token, options.seconds), 99)
                found.append((_at(busy, 50), _at(busy, 99), idle, elsewhere, wait, strength))
            _tell(name, found)


def _tell(name: str, found: Sequence[tuple[float, ...]]) -> None:
    p50, p99, _, control, wait, strength = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(busy / idle for _, busy, idle, *_ in found)
    verdict = "met" if ratio <= GOAL else "missed"
    line = f"{name:20} p50 {p50 * 1e3:6.2f} ms  p99 {p99 * 1e3:6.2f} ms  {ratio:5.2f} x idle  {verdict:6}"
    line += f"  newcomers {wait * 1e3:5.0f} ms  flood {strength:3.0f} %"
    if control:
        elsewhere = statistics.median(other / idle for _, _, idle, other, *_ in found)
        part = statistics.median(busy / other for _, busy, _, other, *_ in found)
        line += f"  elsewhere {elsewhere:5.2f} x idle, gateway {part:5.2f} x elsewhere"
    print(line, flush=True)


def _second_client(home: Path, gate: House) -> str:
    """The honest client is not the one that floods with a token."""
    token = ensure_bearer(KeyFolder(home / "keys"), "honest").read_text().strip()
    core = gate.process
    core.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with _connection(gate.port) as sock:
            sock.sendall(call(token, "hello"))
            if b" 200 " in sock.recv(1 << 16)[:20]:
                return token
    raise SystemExit("the gateway did not take the second client's token")


def _latencies(gate: House, token: str, seconds: float) -> list[float]:
    """The times of calls at a steady rate on one connection; a late call does not delay the next one's clock."""
    found = []
    said = call(token, "x" * 100)
    with _connection(gate.port) as sock:
        sock.sendall(said)
        sock.recv(1 << 16)
        start = time.perf_counter()
        for number in range(int(seconds * CALLS_PER_SECOND)):
            due = start + number / CALLS_PER_SECOND
            while (left := due - time.perf_counter()) > 0:
                select.select([], [], [], left)
            sock.sendall(said)
            answer = sock.recv(1 << 16)
            if b" 200 " not in answer[:20]:
                raise SystemExit(f"an honest call was refused during the flood: {answer[-300:]!r}")
            found.append(time.perf_counter() - due)
    return found


def _newcomer(gate: House, token: str) -> float:
    """How long a new connection waits for its first answer."""
    select.select([], [], [], BETWEEN_S)
    begun = time.perf_counter()
    with _connection(gate.port) as sock:
        sock.sendall(call(token, "hello"))
        if b" 200 " not in sock.recv(1 << 16)[:20]:
            raise SystemExit("a newcomer was refused during the flood")
    return time.perf_counter() - begun


@contextlib.contextmanager
def _process(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`bench.crowds` and its first line, to the end of the block."""
    log = folder / "flood.txt"
    with running([sys.executable, "-m", "bench.crowds", *words], log) as process:
        yield process, first_line(process, log)
        process.kill()


def _at(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


@contextlib.contextmanager
def _connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
