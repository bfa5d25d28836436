"""What podman needs to make containers for an ordinary user, and the exact command that gives what is missing.

Guarantees that a lack is named only when it was seen, and that its remedy can be typed as it is. podman itself starts
without these things and warns at most; a container's own users then fail in words that nobody understands.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["Lack", "lack_here", "lack_of"]

NEEDED_IDS: Final = 1001  # a plugin is user 1000 inside, and every number below is somebody
USUAL_IDS: Final = 65_536
FIRST_ID: Final = 100_000
OLDEST: Final = (4, 3)  # --userns keep-id:uid=
MAPPERS: Final = ("newuidmap", "newgidmap")
PROGRAMS: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FILES: Final = ("subuid", "subgid")

Lack = tuple[str, str]  # what, and what to type


def lack_here(version: str) -> Lack | None:
    """What we lack on this host for this podman; None when nothing does."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return (
            f"user {os.geteuid()} has no name, without which no range can be lent to it",
            "run as a named user",
        )
    texts = {file: _text(Path("/etc", file)) for file in _FILES}
    absent = [one for one in MAPPERS if shutil.which(one, path=PROGRAMS) is None]
    switch = _text(Path("/etc/nsswitch.conf"))
    return lack_of(name, os.geteuid(), texts, absent=absent, version=version, switch=switch)


def lack_of(
    name: str,
    uid: int,
    lent: Mapping[str, str],
    *,
    absent: Sequence[str] = (),
    version: str = "",
    switch: str = "",
) -> Lack | None:
    """The first lack: programs, ranges lent in /etc/subuid and /etc/subgid, then podman's age."""
    if absent:
        return f"{' and '.join(absent)} not installed", "apt install uidmap, or dnf install shadow-utils"
    asks_others = re.search(r"^subid:(?!\s*files\s*$)", switch, re.MULTILINE) is not None
    short = [file for file in _FILES if _lent_to(lent.get(file, ""), name, uid) < NEEDED_IDS]
    if short and not asks_others:
        first = max((_beyond(text) for text in lent.values()), default=FIRST_ID)
        range_ = f"{first}-{first + USUAL_IDS - 1}"
        words = {"subuid": f"--add-subuids {range_}", "subgid": f"--add-subgids {range_}"}
        return (
            f"no range of users is lent to {name} in {' and '.join(f'/etc/{file}' for file in short)}",
            f"sudo usermod {' '.join(words[file] for file in short)} {name}, then podman system migrate",
        )
    found = re.search(r"(\d+)\.(\d+)", version)
    if found is not None and (int(found[1]), int(found[2])) < OLDEST:
        return f"podman {found[0]} cannot say which user a plugin is", "install podman 4.3 or newer"
    return None


def _lent_to(text: str, name: str, uid: int) -> int:
    return sum(count for who, _, count in _ranges(text) if who in (name, str(uid)))


def _beyond(text: str) -> int:
    """The first number beyond all that are lent."""
    return max((start + count for _, start, count in _ranges(text)), default=FIRST_ID)


def _ranges(text: str) -> list[tuple[str, int, int]]:
    fields = (line.split(":") for line in text.splitlines())
    return [
        (one[0], int(one[1]), int(one[2]))
        for one in fields
        if len(one) == 3 and one[1].isdecimal() and one[2].isdecimal()
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
