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
    "SETTINGS",
    "explain",
    "explain_here",
    "obstacle",
    "read_settings",
]

INSTALL_BWRAP: Final = "install bubblewrap: apt install bubblewrap, or dnf install bubblewrap"
SETTINGS: Final = (
    "kernel/apparmor_restrict_unprivileged_userns",
    "kernel/unprivileged_userns_clone",
    "user/max_user_namespaces",
)
APPARMOR_PROFILE: Final = """\
# Lets bwrap, and sekisho itself, make user namespaces where AppArmor denies them (Ubuntu 24.04 and later).
# sekisho makes the network namespace of a plugin before it starts bwrap, so it needs the word as well; its profile is
# entered by name: `aa-exec -p sekisho -- sekisho up`, or `AppArmorProfile=sekisho` in a systemd unit.
# Plugins gain nothing by it: their system call filter refuses every new namespace.
abi <abi/4.0>,
include <tunables/global>

profile bwrap /usr/bin/bwrap flags=(unconfined) {
  userns,
  include if exists <local/bwrap>
}

profile sekisho flags=(unconfined) {
  userns,
  include if exists <local/sekisho>
}
"""
# Words of bwrap, the kernel and our own launcher for the same refusal.
_REFUSALS: Final = (
    "uid map",
    "RTM_NEWADDR",
    "Operation not permitted",
    "Permission denied",
    "No permissions",
)
_NO_SPACE: Final = "No space left on device"  # what a limit of zero namespaces is called


def obstacle(complaint: str) -> str:
    """A complaint with what stands behind it and what to do, in one line."""
    return f"{complaint} ({explain_here(complaint)})"


def explain_here(complaint: str) -> str:
    """What to type against a complaint on this host."""
    return explain(complaint, read_settings(), is_root=os.geteuid() == 0, is_filtered=_is_filtered())


def explain(complaint: str, settings: Mapping[str, str], *, is_root: bool, is_filtered: bool) -> str:
    """What to type against one complaint, given the kernel's settings."""
    if "not installed" in complaint or "too old" in complaint:
        return INSTALL_BWRAP
    if settings.get("user/max_user_namespaces") == "0" or _NO_SPACE in complaint:
        return "user namespaces are limited to 0: sudo sysctl -w user.max_user_namespaces=15000"
    if not is_root and settings.get("kernel/unprivileged_userns_clone") == "0":
        return "user namespaces are switched off: sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if not is_root and settings.get("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor restricts user namespaces: sekisho doctor --apparmor-profile | sudo tee "
            "/etc/apparmor.d/sekisho && sudo apparmor_parser -r /etc/apparmor.d/sekisho, "
            "then aa-exec -p sekisho -- sekisho up"
        )
    if any(word in complaint for word in _REFUSALS):
        if is_filtered:
            return (
                "this container's own filter blocks namespaces: start it with --security-opt seccomp=unconfined, or "
                'run the plugins on its host, or use isolation = "standard" with Landlock'
            )
        return "allow user namespaces for this user: see docs/security/user-namespaces.md"
    return "see docs/security/user-namespaces.md"


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
