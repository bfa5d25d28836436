"""The page of results: `python -m tests.real.escape.report` plays every scene and writes docs/security/escape-suite.md.

Rows of other walls are kept from the last time they could be played (`--ours` leaves them as they are); the tests
play our own rows anew and compare them with the page.
"""

# ruff: noqa: S607 - dpkg-query and uname are where they are
from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import dev
from tests.real.escape.peers import NODE_VERSION, PEERS, SRT_VERSION
from tests.real.escape.played import OURS, impediment, played, working
from tests.real.escape.program import FAMILIES, catalogue

__all__ = ["MEASURED", "PAGE", "column", "counts", "name_of", "page", "read"]

PAGE: Final = dev.ROOT / "docs" / "security" / "escape-suite.md"
BARE: Final = (("bare", "user"), ("bare", "root"))
WORKS, HELD, ABSENT = "A", "-", "."
MEASURED: Final = "## Measured"
VERSIONS: Final = {
    "bubblewrap": "bubblewrap", "firejail": "firejail", "podman": "podman", "docker.io": "docker.io", "runc": "runc",
    "runsc": "runsc",
}  # fmt: skip

Column = Mapping[str, str]  # probe id to mark


def column(where: str, who: str) -> Column:
    """One scene as marks."""
    marks = {}
    for id_, one in played(where, who).items():
        marks[id_] = WORKS if one["works"] else ABSENT if one.get("absent") else HELD
    return marks


def name_of(where: str, who: str) -> str:
    """A scene's name on the page."""
    return f"{where} ({who})"


def counts(marks: Column) -> dict[str, tuple[int, int]]:
    """Of each family: how many got through, and how many count."""
    found = {}
    for letter in FAMILIES:
        ids = [
            id_ for id_, one in catalogue().items()
            if id_[0] == letter and not one.is_informational and not one.is_function
        ]  # fmt: skip
        found[letter] = (sum(marks.get(id_) == WORKS for id_ in ids), len(ids))
    return found


def page(columns: Mapping[str, Column], when: str) -> str:
    """The part of the page that is generated."""
    return f"{MEASURED}\n\n{when}\n\n{_summary(columns)}\n{_every(columns)}"


def _summary(columns: Mapping[str, Column]) -> str:
    hosts = [letter for letter in FAMILIES if letter != "X"]
    sizes = counts({})
    head = [f"{FAMILIES[letter]} /{sizes[letter][1]}" for letter in hosts]
    total = sum(sizes[letter][1] for letter in hosts)
    text = f"| place | {' | '.join(head)} | **host /{total}** | **door /{sizes['X'][1]}** |\n"
    text += "|---|" + "---|" * (len(hosts) + 2) + "\n"
    for name, marks in columns.items():
        found = counts(marks)
        cells = [str(found[letter][0]) for letter in hosts]
        door = str(found["X"][0]) if marks.get("X00") == WORKS else "no door"
        text += f"| {name} | {' | '.join(cells)} | **{sum(found[one][0] for one in hosts)}** | {door} |\n"
    return text


def _every(columns: Mapping[str, Column]) -> str:
    text = f"| id | probe | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}\n"
    for id_, one in catalogue().items():
        note = (
            " *(function: must work)*"
            if one.is_function
            else " *(informational)*"
            if one.is_informational
            else ""
        )
        marks = (columns[name].get(id_, ABSENT) for name in columns)
        text += f"| {id_} | {one.title}{note} | {' | '.join(marks)} |\n"
    return text


def read(text: str) -> dict[str, dict[str, str]]:
    """Every column of a page."""
    found: dict[str, dict[str, str]] = {}
    names: Sequence[str] = ()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "id":
            names = cells[2:]
        elif names and re.fullmatch(r"[A-Z]\d\d", cells[0]):
            for name, mark in zip(names, cells[2:], strict=True):
                found.setdefault(name, {})[cells[0]] = mark
    return found


def _when() -> str:
    versions = []
    for package in VERSIONS:
        shown = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Version}", package],
            capture_output=True,
            text=True,
            check=False,
        )
        if shown.returncode == 0:
            versions.append(f"{package} {shown.stdout}")
    kernel = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.split("-")[0]
    day = datetime.now(UTC).date().isoformat()
    return (
        f"Other walls were last measured on {day}, Linux {kernel}: {', '.join(versions)} (Debian), "
        f"`@anthropic-ai/sandbox-runtime` {SRT_VERSION} under Node.js {NODE_VERSION} (npm)."
    )


def main() -> int:
    """Play and write."""
    parser = argparse.ArgumentParser(description="Play every scene and write the page.")
    parser.add_argument("--ours", action="store_true", help="leave the rows of other walls as they are")
    options = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else MEASURED
    head, _, generated = text.partition(MEASURED)
    known = read(generated)
    scenes = [*BARE, *OURS, *((name, peer.who) for name, peer in PEERS.items())]
    columns: dict[str, Column] = {}
    for where, who in scenes:
        name = name_of(where, who)
        is_kept = options.ours and where in PEERS
        missing = impediment(where) or ", ".join(PEERS[where].missing() if where in PEERS else ())
        if is_kept or missing:
            sys.stderr.write(f"{name}: kept {missing}\n")
            columns |= {name: known[name]} if name in known else {}
            continue
        try:
            columns[name] = column(where, who)
        except RuntimeError as error:
            sys.stderr.write(f"{name}: {error}\n")
            return 1
        sys.stderr.write(f"{name}: {len(working(where, who))} of {len(columns[name])}\n")
    when = re.search(r"^Other walls were last.*$", generated, re.MULTILINE)
    PAGE.write_text(head + page(columns, when[0] if options.ours and when else _when()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
