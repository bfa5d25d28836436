"""Whether the walls made the difference: what a plugin did not find, and the host has.

Guarantees that only file systems of this machine are looked at: a name that a plugin chose mounts nothing, asks no server
and waits for none. There the answer is yes, because an attempt that cannot be judged is told.

What everybody may read below /etc, /sys and /proc is left out: libraries look for it at every start. So is a
device for everybody.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Final

from sekisho.launcher.kernel import read_text
from sekisho.launcher.places import Refusal, walk

__all__ = ["Host"]

EVERYBODY: Final = stat.S_IROTH | stat.S_IWOTH
COMMON: Final = ("/etc/", "/sys/", "/proc/")
LOCAL: Final = frozenset(
    """
    bcachefs binder bpf btrfs cgroup cgroup2 configfs cramfs debugfs devpts devtmpfs efivarfs erofs exfat ext2 ext3 ext4
    f2fs hugetlbfs iso9660 jfs mqueue msdos ntfs3 nsfs overlay proc pstore ramfs reiserfs rootfs securityfs squashfs sysfs
    tmpfs tracefs udf vfat xfs zfs
    """.split()  # noqa: SIM905 - one text reads better than forty quotes
)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")  # how the mount table writes spaces and their kin


class Host:
    """The host's files, seen from outside the walls."""

    def __init__(self, table: str = "/proc/self/mountinfo") -> None:
        self._table = table
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._shy: tuple[str, ...] = ()

    def look(self) -> None:
        """See what is mounted now."""
        found = []
        for line in read_text(self._table).splitlines():
            fields, _, rest = line.partition(" - ")
            if rest.partition(" ")[0] not in LOCAL:
                found.append(_OCTAL.sub(lambda code: chr(int(code[1], 8)), fields.split(" ")[4]))
        self._shy = tuple(
            f"{place}/" for place in found if place != "/"
        )  # nobody here lives without that one

    def has(self, refusal: Refusal) -> bool:
        """Whether it is a refusal after all."""
        if not refusal.on_host:
            return True
        path = walk(self._root, refusal.on_host, self._shy)
        if path is None:
            return True
        try:
            found = os.lstat(path)
        except (OSError, ValueError):
            return False
        return not (_is_for_all(found) or (refusal.act == "read" and _is_common(path, found)))


def _is_for_all(found: os.stat_result) -> bool:
    """A device that everybody may use, as /dev/tty."""
    return stat.S_ISCHR(found.st_mode) and found.st_mode & EVERYBODY == EVERYBODY


def _is_common(path: str, found: os.stat_result) -> bool:
    """Configuration that any user of the host may read."""
    if not path.startswith(COMMON) or not found.st_mode & stat.S_IROTH:
        return False
    above = path.rpartition("/")[0]
    while above:
        if not os.lstat(above).st_mode & stat.S_IXOTH:
            return False
        above = above.rpartition("/")[0]
    return True
