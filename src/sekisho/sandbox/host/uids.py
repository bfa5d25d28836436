"""A user of its own for each plugin, when root starts it: numbers that stay, and that belong to nobody else here.

Guarantees that a plugin keeps its number as long as the table stands and nobody else has it, that no two plugins share
one, and that a number which somebody has (a user, a group, or a range lent to a user for containers) is passed over, also
one that was free when it was given: the table is asked about at every start. A table that gives one number twice is
refused. A root that is one only
inside a user namespace gives none: it has no other users, and is no root outside. Nor does one that may not mount.
"""

from __future__ import annotations

import fcntl
import grp
import json
import os
import pwd
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from sekisho.errors import Misconfigured

__all__ = ["free_number", "give_user", "is_host_root", "lent_ranges"]

HIGHEST: Final = (1 << 32) - 2
OVERFLOW: Final = (65_534, 65_535)  # who has no number here; and 16 bits' "nobody"
LENT: Final = ("/etc/subuid", "/etc/subgid")
NEEDED: Final = 1 << 6 | 1 << 7 | 1 << 21  # to set groups and users, and to mount
WHOLE: Final = ["0", "0", "4294967295"]

Range = tuple[int, int]


def is_host_root() -> bool:
    """Whether we may be anybody on this host: root, with the rights that some containers take from it."""
    if os.geteuid() != 0 or Path("/proc/self/uid_map").read_text(encoding="ascii").split() != WHOLE:
        return False
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["CapEff"], 16) & NEEDED == NEEDED


def read_range(text: str) -> Range:
    """`600000-665535`, both ends included.

    Raises:
        Misconfigured: it is none.
    """
    first, dash, last = text.partition("-")
    if (
        not (dash and first.isdecimal() and last.isdecimal())
        or not 1000 <= int(first) <= int(last) <= HIGHEST
    ):
        raise Misconfigured(
            "config_invalid", f"uids = {text!r} is no range", remedy='write it as "600000-665535"'
        )
    return int(first), int(last)


def give_user(table: Path, plugin: str, uids: str) -> int:
    """The number of a plugin, chosen and remembered when it has none.

    Raises:
        Misconfigured: none is free in the range, or the table cannot be read.
    """
    first, last = read_range(uids)
    table.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with table.with_suffix(".lock").open("w", encoding="ascii") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        known = _read(table)
        number, lent = known.get(plugin), lent_ranges(LENT)
        if number is not None and first <= number <= last and _is_free(number, lent):
            return number
        others = {value for name, value in known.items() if name != plugin}
        number = free_number((first, last), others, lent, _is_somebodys)
        fresh = table.with_suffix(".new")
        fresh.write_text(json.dumps({**known, plugin: number}, indent=1, sort_keys=True), encoding="ascii")
        fresh.rename(table)
    return number


def free_number(
    within: Range, taken: Iterable[int], lent: Iterable[Range], is_somebodys: Callable[[int], bool]
) -> int:
    """The lowest number that nobody has.

    Raises:
        Misconfigured: there is none.
    """
    first, last = within
    unusable, ranges = {*taken, *OVERFLOW}, sorted(lent)
    number = first
    while number <= last:
        beyond = next((end + 1 for start, end in ranges if start <= number <= end), None)
        if beyond is not None:
            number = beyond
        elif number in unusable or is_somebodys(number):
            number += 1
        else:
            return number
    raise Misconfigured(
        "config_invalid",
        f"no user is free from {first} to {last} for another plugin",
        remedy="write a wider range into sandbox.uids",
    )


def _is_free(number: int, lent: Iterable[Range]) -> bool:
    is_lent = any(start <= number <= end for start, end in lent)
    return number not in OVERFLOW and not is_lent and not _is_somebodys(number)


def lent_ranges(files: Iterable[str]) -> list[Range]:
    """Numbers that are lent to users for containers of theirs: what runs there is theirs."""
    found = []
    for path in files:
        try:
            lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            fields = line.split(":")
            if len(fields) == 3 and fields[1].isdecimal() and fields[2].isdecimal():
                found.append((int(fields[1]), int(fields[1]) + int(fields[2]) - 1))
    return found


def _read(table: Path) -> dict[str, int]:
    try:
        said = json.loads(table.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _unreadable(table) from error
    if not isinstance(said, dict) or not all(type(value) is int and value > 0 for value in said.values()):
        raise _unreadable(table)
    if len(set(said.values())) < len(said):
        raise _unreadable(table)
    return said


def _unreadable(table: Path) -> Misconfigured:
    return Misconfigured(
        "config_invalid",
        f"{table} cannot be read",
        remedy="remove it: plugins then get new numbers, as their files keep",
    )


def _is_somebodys(number: int) -> bool:
    for known in (pwd.getpwuid, grp.getgrgid):
        try:
            known(number)
        except KeyError:
            continue
        return True
    return False
