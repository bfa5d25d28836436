"""Why a wall does not stand on this host, and the exact commands that change it.

Guarantees that a kernel setting is named only when it was read, and that every remedy can be typed as it is. Knows
Ubuntu's restriction of user namespaces by AppArmor, Debian's switch, a limit of zero, and containers whose own filter
blocks namespaces. Changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = [
    "APPARMOR_PROFILE",
    "INSTALL_BWRAP",
    "LATE",
    "SETTINGS",
    "confined",
    "confining",
    "explain",
    "explain_here",
    "obstacle",
    "read_settings",
]

INSTALL_BWRAP: Final = "install bubblewrap: apt install bubblewrap, or dnf install bubblewrap"
SETTINGS: Final = (
    "kernel/apparmor_restrict_unprivileged_userns",
    "kernel/apparmor_restrict_unprivileged_unconfined",
    "kernel/unprivileged_userns_clone",
    "user/max_user_namespaces",
)
APPARMOR_PROFILE: Final = """\
# Lets sekisho, and the bwrap that it starts, make user namespaces where AppArmor denies them (Ubuntu 24.04 and later).
# It is entered by name: `AppArmorProfile=sekisho` in a unit of the system's, or `aa-exec -p sekisho -- sekisho up`.
# It is tied to no program: a bwrap that anybody else starts gains nothing by it, and a profile that the distribution
# ties to bwrap stays as it is. Plugins gain nothing either: their system call filter refuses every new namespace.
abi <abi/4.0>,
include <tunables/global>

profile sekisho flags=(unconfined) {
  userns,
  include if exists <local/sekisho>
}
"""
LABEL: Final = "/proc/self/attr/apparmor/current"
# Words of bwrap, the kernel and our own launcher for the same refusal.
_REFUSALS: Final = (
    "uid map",
    "RTM_NEWADDR",
    "Operation not permitted",
    "Permission denied",
    "No permissions",
)
LATE: Final = "no answer within"  # a trial that was ended proves nothing about a wall
_TOO_BUSY: Final = "nothing was proved: this machine is too busy; try again when it is idle"
_NO_SPACE: Final = "No space left on device"  # what a limit of zero namespaces is called


def obstacle(complaint: str) -> str:
    """A complaint with what stands behind it and what to do, in one line."""
    return f"{complaint} ({explain_here(complaint)})"


def explain_here(complaint: str) -> str:
    """What to type against a complaint on this host."""
    is_root = os.geteuid() == 0
    return explain(
        complaint, read_settings(), is_root=is_root, is_filtered=_is_filtered(), profile=confined()
    )


def explain(
    complaint: str, settings: Mapping[str, str], *, is_root: bool, is_filtered: bool, profile: str = ""
) -> str:
    """What to type against one complaint, given the kernel's settings and the AppArmor profile that confines us."""
    if LATE in complaint:
        return _TOO_BUSY
    if "not installed" in complaint or "too old" in complaint:
        return INSTALL_BWRAP
    if settings.get("user/max_user_namespaces") == "0" or _NO_SPACE in complaint:
        return "user namespaces are limited to 0: sudo sysctl -w user.max_user_namespaces=15000"
    if not is_root and settings.get("kernel/unprivileged_userns_clone") == "0":
        return "user namespaces are switched off: sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if not is_root and settings.get("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor restricts user namespaces: sekisho doctor --apparmor-profile | sudo tee "
            f"/etc/apparmor.d/sekisho && sudo apparmor_parser -r /etc/apparmor.d/sekisho, then {_entrance(settings)}"
        )
    if profile and any(word in complaint for word in _REFUSALS):
        return (
            f"the AppArmor profile {profile!r}, in which this process runs, refuses user namespaces: write the line "
            "`userns,` into it and load it anew (sudo apparmor_parser -r FILE), or start sekisho outside it"
        )
    if any(word in complaint for word in _REFUSALS):
        if is_filtered:
            return (
                "this container's own filter blocks namespaces: start it with --security-opt seccomp=unconfined, or "
                'run the plugins on its host, or use isolation = "standard" with Landlock'
            )
        return "allow user namespaces for this user: see docs/security/user-namespaces.md"
    return "see docs/security/user-namespaces.md"


def _entrance(settings: Mapping[str, str]) -> str:
    """How the profile is entered: where unconfined programs are restricted, an ordinary user's aa-exec gains nothing."""
    if settings.get("kernel/apparmor_restrict_unprivileged_unconfined") == "1":
        return "AppArmorProfile=sekisho in its unit in /etc/systemd/system"
    return "aa-exec -p sekisho -- sekisho up"


def confined() -> str:
    """The AppArmor profile that is enforced upon this process; "" where none is."""
    try:
        return confining(Path(LABEL).read_text())
    except OSError:
        return ""  # AppArmor is not there, or not asked


def confining(label: str) -> str:
    """The profile of a process, by the kernel's word for it, if it is enforced; "" where nothing is."""
    name, _, mode = label.strip().rpartition(" ")
    return name if mode == "(enforce)" else ""


def read_settings() -> dict[str, str]:
    """The kernel's settings about user namespaces, those that exist."""
    found = {}
    for name in SETTINGS:
        try:
            found[name] = Path("/proc/sys", name).read_text().strip()
        except OSError:
            continue
    return found


def _is_filtered() -> bool:
    """Whether a system call filter lies upon us already, as in a container."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return False
    return any(line.split() == ["Seccomp:", "2"] for line in lines)
