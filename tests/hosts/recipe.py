"""Hosts that the machine of the tests is not: which Debian, for which processor, and how it is emulated.

Judgement only: what is installed and how it is started, as values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from packaging.requirements import Requirement

__all__ = ["HOSTS", "Host", "platforms", "requirements"]

SUITE: Final = "trixie"
PYTHON: Final = "3.13"  # that of the suite
# A manager of users and services, and what single tests need.
PACKAGES: Final = (
    "systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "initramfs-tools", "kmod", "procps",
    "apparmor", "apparmor-profiles", "bubblewrap", "uidmap", "python3", "python3-venv", "libseccomp2", "iproute2", "git",
    "sqlite3", "curl", "openssl", "ca-certificates", "util-linux-extra", "sudo",
)  # fmt: skip
ENGINES: Final = ("podman", "crun", "runc", "passt", "docker.io", "nodejs")  # half of a disk
GLIBC: Final = ("2_28", "2_17", "2_12", "2_5")  # whose wheels run there


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host; `machine` as the kernel calls it, `debian` as Debian does."""

    machine: str
    debian: str
    emulator: tuple[str, ...]
    emulator_package: str
    processor: str = "max"
    more: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """All that is installed."""
        return (f"linux-image-cloud-{self.debian}", *PACKAGES, *self.more)


HOSTS: Final = {
    "debian13": Host(
        machine="x86_64",
        debian="amd64",
        emulator=("qemu-system-x86_64", "-machine", "q35"),
        emulator_package="qemu-system-x86",
        processor="max,cx16=off",  # qemu 7.2 spoils the flags of that instruction, and the kernel falls over it
        more=ENGINES,
    ),
    "debian13-arm64": Host(
        machine="aarch64",
        debian="arm64",
        emulator=("qemu-system-aarch64", "-machine", "virt"),
        emulator_package="qemu-system-arm",
        processor="max,pauth-impdef=on",  # signing pointers as the architecture says makes an emulated one far slower
    ),
}


def requirements(lines: Iterable[str], host: Host) -> list[str]:
    """Those that hold for this host: pip looks at markers for the machine that it runs on."""
    there = {"platform_machine": host.machine, "python_version": PYTHON, "python_full_version": f"{PYTHON}.0"}
    wanted = [Requirement(line) for line in lines]
    return [
        f"{one.name}{one.specifier}" for one in wanted if one.marker is None or one.marker.evaluate(there)
    ]


def platforms(host: Host) -> list[str]:
    """The wheels that run there, in pip's words."""
    return [f"manylinux_{glibc}_{host.machine}" for glibc in GLIBC] + [
        f"manylinux2014_{host.machine}"  # the old name of 2_17, which some wheels have alone
    ]
