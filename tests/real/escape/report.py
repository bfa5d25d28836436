"""The page of results: `python -m tests.real.escape.report` plays every scene and writes docs/security/escape-suite.md.

Every mark of every scene stands in a table of data beside the page; the page groups them so that they can be read.
Rows of other walls are kept from the last time they could be played (`--ours` leaves them as they are); the tests
play our own rows anew and compare them with the data, and the page with what the data make of it.
"""

# ruff: noqa: S607 - dpkg-query and uname are where they are
from __future__ import annotations

import argparse
import csv
import io
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import dev
from tests.real.escape.peers import NODE_VERSION, PEERS, SRT_VERSION
from tests.real.escape.played import OURS, impediment, played, working
from tests.real.escape.program import FAMILIES, catalogue

__all__ = [
    "DATA",
    "MEASURED",
    "PAGE",
    "column",
    "counts",
    "data",
    "last",
    "measured",
    "name_of",
    "page",
    "read",
]

PAGE: Final = dev.ROOT / "docs" / "security" / "escape-suite.md"
DATA: Final = PAGE.with_suffix(".csv")
BARE: Final = (("bare", "user"), ("bare", "root"))
WORKS, HELD, ABSENT = "A", "-", "."
MEASURED: Final = "## Measured"
VERSIONS: Final = {
    "bubblewrap": "bubblewrap", "firejail": "firejail", "podman": "podman", "docker.io": "docker.io", "runc": "runc",
    "runsc": "runsc",
}  # fmt: skip

# How the page groups the scenes, and what it calls each within its group.
OTHERS: Final[Mapping[str, Mapping[str, str]]] = {
    "firejail": {"firejail (user)": "no profile"},
    "bwrap": {"bwrap-copied (user)": "as copied", "bwrap-unshared (user)": "unshared"},
    "srt": {"srt (user)": "default", "srt-strict (user)": "strict"},
    "docker": {"docker (root)": "default", "docker-hardened (root)": "hardened"},
    "podman": {"podman (root)": "default", "podman-hardened (root)": "hardened"},
    "gVisor": {"gvisor (root)": "default"},
}

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
    return "\n".join(_family(letter, columns) for letter in FAMILIES)


def _family(letter: str, columns: Mapping[str, Column]) -> str:
    """One table; a group that had nothing to try in all of it has no column in it."""
    probes = {id_: one for id_, one in catalogue().items() if id_[0] == letter}
    groups = {
        title: group for title, group in _groups(columns).items()
        if any(columns[name].get(id_, ABSENT) != ABSENT for name in group for id_ in probes)
    }  # fmt: skip
    text = f"### {FAMILIES[letter].capitalize()}\n\n| id | probe | {' | '.join(groups)} |\n"
    text += "|---|---|" + "---|" * len(groups) + "\n"
    for id_, one in probes.items():
        cells = (
            _cell({word: columns[name].get(id_, ABSENT) for name, word in group.items()})
            for group in groups.values()
        )
        text += f"| {id_} | {one.title}{_note(id_)} | {' | '.join(cells)} |\n"
    return text


def _groups(columns: Mapping[str, Column]) -> dict[str, dict[str, str]]:
    ours = {name_of(*scene): name_of(*scene) for scene in OURS}
    every = {"bare": {name_of(*scene): scene[1] for scene in BARE}, "ours": ours, **OTHERS}
    known = {
        title: {name: word for name, word in group.items() if name in columns}
        for title, group in every.items()
    }
    return {title: group for title, group in known.items() if group}


def _cell(group: Mapping[str, str]) -> str:
    """One mark where all that could try it agree; else the shorter list of names."""
    through = [word for word, mark in group.items() if mark == WORKS]
    held = [word for word, mark in group.items() if mark == HELD]
    if not through:
        return HELD if held else ABSENT
    if not held:
        return WORKS
    if len(through) <= len(held):
        return ", ".join(_named(through, group))
    return f"all but {', '.join(_named(held, group))}"


def _named(words: Sequence[str], group: Iterable[str]) -> list[str]:
    """A driver by its name alone where root and user are both meant."""
    whole = {
        word.partition(" (")[0] for word in words
        if all(one in words for one in group if one.partition(" (")[0] == word.partition(" (")[0])
    }  # fmt: skip
    return list(dict.fromkeys(one if (one := word.partition(" (")[0]) in whole else word for word in words))


def _note(id_: str) -> str:
    kind = _kind(id_)
    return {"function": " *(function: must work)*", "informational": " *(informational)*"}.get(kind, "")


def _kind(id_: str) -> str:
    one = catalogue()[id_]
    return "function" if one.is_function else "informational" if one.is_informational else "attack"


def data(columns: Mapping[str, Column]) -> str:
    """Every mark, for programs."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "probe", "kind", *columns])
    for id_, one in catalogue().items():
        table.writerow([id_, one.title, _kind(id_), *(columns[name].get(id_, ABSENT) for name in columns)])
    return text.getvalue()


def read(text: str) -> dict[str, dict[str, str]]:
    """Every column of the data."""
    rows = list(csv.reader(io.StringIO(text)))
    return (
        {name: {row[0]: row[place] for row in rows[1:]} for place, name in enumerate(rows[0]) if place > 2}
        if rows
        else {}
    )


def measured() -> dict[str, dict[str, str]]:
    """What was measured last."""
    return read(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}


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


def last(generated: str) -> str:
    """When other walls were measured, as the page says it."""
    found = re.search(r"^Other walls were last.*$", generated, re.MULTILINE)
    return found[0] if found else _when()


def main() -> int:
    """Play and write."""
    parser = argparse.ArgumentParser(description="Play every scene and write the page.")
    parser.add_argument("--ours", action="store_true", help="leave the rows of other walls as they are")
    options = parser.parse_args()
    head, _, generated = PAGE.read_text(encoding="utf-8").partition(MEASURED)
    known = measured()
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
    when = last(generated) if options.ours else _when()
    DATA.write_text(data(columns), encoding="utf-8")
    PAGE.write_text(head + page(columns, when), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
