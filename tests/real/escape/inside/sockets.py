"""Sockets: families of kernel code that a plugin never needs, and ways to hand things over a wall."""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path
from typing import Final

from tests.real.escape.inside.kit import There, patient, probe

NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_XFRM, NETLINK_AUDIT, NETLINK_NETFILTER = 0, 4, 6, 9, 12
NETLINK_KOBJECT_UEVENT, NETLINK_GENERIC, NETLINK_CRYPTO = 15, 16, 21
AF_VSOCK, AF_ALG, AF_XDP, AF_RDS, AF_TIPC, AF_BLUETOOTH = 40, 38, 44, 21, 30, 31
RARE: Final = {
    "AF_AX25": 3, "AF_IPX": 4, "AF_APPLETALK": 5, "AF_X25": 9, "AF_KEY": 15, "AF_LLC": 26, "AF_CAN": 29,
    "AF_PHONET": 35, "AF_IEEE802154": 36, "AF_CAIF": 37, "AF_NFC": 39, "AF_KCM": 41, "AF_QIPCRTR": 42,
    "AF_SMC": 43, "AF_MCTP": 45,
}  # fmt: skip
SOL_IP, IP_TRANSPARENT, SO_MARK, SO_BINDTODEVICE, SO_RCVBUFFORCE = 0, 19, 36, 25, 33
WELL_KNOWN: Final = (
    "/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock",
    "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/notify", "/tmp/.X11-unix/X0", "/dev/log",
    "/run/nscd/socket", "/run/udev/control",
)  # fmt: skip


def _made(family: int, kind: int, protocol: int = 0) -> str:
    with socket.socket(family, kind, protocol):
        return "made"


def _any(*wanted: tuple[int, int, int]) -> str:
    for family, kind, protocol in wanted:
        try:
            return _made(family, kind, protocol) + f" {family}/{kind}/{protocol}"
        except OSError:
            continue
    return ""


@probe("S01", "raw IPv4 socket")
def _(_: There) -> str:
    return _made(socket.AF_INET, socket.SOCK_RAW, 1)


@probe("S02", "packet socket")
def _(_: There) -> str:
    return _any((17, socket.SOCK_RAW, 0x300), (17, socket.SOCK_DGRAM, 0x300))


@probe("S03", "learn the host's interfaces (netlink route)")
def _(there: There) -> str:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as sock:
        sock.settimeout(patient(2))
        sock.send(struct.pack("IHHII", 20, 18, 0x301, 1, 0) + b"\0\0\0\0")  # RTM_GETLINK, dump
        found = sock.recv(1 << 16)
    return "saw the host's interface" if there.at["interface"].encode() in found else ""


@probe("S04", "vsock, to the hypervisor")
def _(_: There) -> str:
    return _made(AF_VSOCK, socket.SOCK_STREAM)


@probe("S05", "the kernel's cryptography")
def _(_: There) -> str:
    return _made(AF_ALG, socket.SOCK_SEQPACKET)


@probe("S06", "netfilter")
def _(_: There) -> str:
    return _made(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)


@probe("S07", "ping socket")
def _(_: There) -> str:
    return _made(socket.AF_INET, socket.SOCK_DGRAM, 1)


@probe("S08", "XDP, RDS, TIPC, Bluetooth")
def _(_: There) -> str:
    seq, raw = socket.SOCK_SEQPACKET, socket.SOCK_RAW
    return _any((AF_XDP, raw, 0), (AF_RDS, seq, 0), (AF_TIPC, seq, 0), (AF_BLUETOOTH, raw, 1))


@probe("S09", "give a descriptor to a process outside (SCM_RIGHTS)")
def _(there: There) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(there.at["unix_socket"])
        socket.send_fds(sock, [b"x"], [0])
    return "given"


@probe("S10", "any other netlink family (audit, xfrm, uevent, generic, sock_diag, crypto)")
def _(_: There) -> str:
    raw = socket.SOCK_RAW
    kinds = (
        NETLINK_SOCK_DIAG,
        NETLINK_XFRM,
        NETLINK_AUDIT,
        NETLINK_KOBJECT_UEVENT,
        NETLINK_GENERIC,
        NETLINK_CRYPTO,
    )
    return _any(*((socket.AF_NETLINK, raw, kind) for kind in kinds))


@probe("S11", "rare families of protocols")
def _(_: There) -> str:
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW)
    return _any(*((family, kind, 0) for family in RARE.values() for kind in kinds))


@probe("S12", "SCTP, DCCP, UDP-Lite, MPTCP")
def _(_: There) -> str:
    inet = socket.AF_INET
    return _any(
        (inet, socket.SOCK_SEQPACKET, 132), (inet, socket.SOCK_STREAM, 132), (inet, 6, 33),
        (inet, socket.SOCK_DGRAM, 136), (inet, socket.SOCK_STREAM, 262),
    )  # fmt: skip


@probe("S13", "raw IPv6 socket, ping over IPv6")
def _(_: There) -> str:
    return _any((socket.AF_INET6, socket.SOCK_RAW, 58), (socket.AF_INET6, socket.SOCK_DGRAM, 58))


@probe("S14", "rights over traffic (SO_MARK, IP_TRANSPARENT, forced buffers)")
def _(_: There) -> str:
    with socket.socket() as sock:
        for level, option in (
            (socket.SOL_SOCKET, SO_MARK),
            (SOL_IP, IP_TRANSPARENT),
            (socket.SOL_SOCKET, SO_RCVBUFFORCE),
        ):
            try:
                sock.setsockopt(level, option, 1)
            except OSError:
                continue
            return f"option {option}"
    return ""


@probe("S15", "a well-known socket of the host (docker, dbus, X11, syslog)")
def _(_: There) -> str:
    for path in WELL_KNOWN:
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(path)
            except OSError as error:
                if error.errno != errno.EPROTOTYPE:
                    continue
            return path
    return ""


@probe("S16", "a socket of the host by a name in the environment")
def _(_: There) -> str:
    for name in (
        "SSH_AUTH_SOCK",
        "DBUS_SESSION_BUS_ADDRESS",
        "WAYLAND_DISPLAY",
        "XDG_RUNTIME_DIR",
        "DOCKER_HOST",
    ):
        path = os.environ.get(name, "").removeprefix("unix:path=")
        if path and Path(path).exists():
            return name
    return ""


@probe("S17", "list the host's connections (/proc/net)")
def _(there: There) -> str:
    port = f":{int(there.at['loopback_port']):04X} "
    return "seen" if port in Path("/proc/self/net/tcp").read_text() else ""


@probe("S18", "ask the kernel for our own interfaces (netlink route; Node.js needs it)", informational=True)
def _(_: There) -> str:
    return _made(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
