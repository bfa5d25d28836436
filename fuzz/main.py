"""Run the targets: `python3 dev.py fuzz [--seconds N] [--replay FILE] [TARGET ...]`.

Each target gets the same time in a process of its own, starting from its seeds and from what earlier runs learned.
Prints executions and findings; the exit status is 1 when a property broke, an input took too long or memory ran
out. A finding is kept as a file with the command that replays it; once understood it becomes a seed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fuzz.targets import SEEDS, TARGETS

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "fuzz-corpus"
WORD_LISTS = Path(__file__).parent / "words"
FINDINGS = ROOT / ".cache" / "fuzz-findings"
MAX_INPUT_BYTES = 8192
SLOW_S = 5  # one input; ordinary ones take microseconds
MEMORY_MB = 1024
GRACE_S = 120  # to start, and to end after the time is up

# Words the mutator may put in: readers written in C tell it nothing about what they look for.
WORDS = {
    "json": ("client-message", "plugin-message", "tool-call", "strict-text", "listing", "lines", "authored"),
    "http": ("http-requests", "http-responses", "proxy-request", "channel", "events"),
    "toml": ("configuration",),
}

_UNITS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Run:
    """What one target did."""

    target: str
    executions: int
    finding: Path | None
    said: str


def main(arguments: Sequence[str]) -> int:
    """Run the chosen targets, or replay one file; returns the exit status."""
    options = _options(arguments)
    if options.replay is not None:
        return _replay(options.replay, options.targets)
    runs = []
    for target in options.targets or list(TARGETS):
        run = _fuzz(target, options.seconds)
        runs.append(run)
        _tell(run)
    found = [run for run in runs if run.finding is not None or run.said]
    print(
        f"{sum(run.executions for run in runs)} executions, {len(runs)} targets, {len(found)} with findings"
    )
    return 1 if found else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="names of targets; all when none is given")
    parser.add_argument("--seconds", type=int, default=30, help="time for each target")
    parser.add_argument("--replay", type=Path, help="run one input through one target, without fuzzing")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.targets) - set(TARGETS))
    if unknown or (options.replay is not None and len(options.targets) != 1):
        parser.error(f"targets are: {', '.join(TARGETS)}; --replay takes exactly one")
    return options


def _replay(file: Path, targets: list[str]) -> int:
    TARGETS[targets[0]](file.read_bytes())
    print(f"{file}: every property holds")
    return 0


def _fuzz(target: str, seconds: int) -> Run:
    learned, findings = CACHE / target, FINDINGS / target
    learned.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(findings, ignore_errors=True)
    findings.mkdir(parents=True)
    words = [f"-dict={WORD_LISTS / name}.dict" for name, targets in WORDS.items() if target in targets]
    command = [
        *(sys.executable, "-m", "fuzz.one", target, str(learned), str(SEEDS / target)),
        *(f"-max_total_time={seconds}", f"-timeout={SLOW_S}", f"-rss_limit_mb={MEMORY_MB}"),
        *(
            f"-max_len={MAX_INPUT_BYTES}",
            f"-artifact_prefix={findings}/",
            "-print_final_stats=1",
            "-use_value_profile=1",
            *words,
        ),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + GRACE_S,
        check=False,
    )
    units = _UNITS.search(done.stderr)
    saved = sorted(path for path in findings.iterdir() if not path.name.startswith("slow-unit"))
    said = "" if done.returncode == 0 and not saved else _last_words(done.stdout + done.stderr)
    return Run(target, int(units[1]) if units else 0, saved[0] if saved else None, said)


def _last_words(output: str) -> str:
    """The exception or libFuzzer's verdict, without its progress."""
    lines = [
        line for line in output.splitlines() if not line.startswith(("INFO", "WARNING", "#", "stat::", "0x"))
    ]
    return "\n".join(lines[-40:])


def _tell(run: Run) -> None:
    print(
        f"{run.target:16} {run.executions:>10} executions  {'FINDING' if run.said else 'no finding'}",
        flush=True,
    )
    if run.said:
        print(run.said, file=sys.stderr)
    if run.finding is not None:
        shown = run.finding.relative_to(ROOT)
        print(f"  kept:   {shown}\n  replay: python3 dev.py fuzz {run.target} --replay {shown}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
