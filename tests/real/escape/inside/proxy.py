"""The one door out: the listed host must be reached through it, and nothing else by any words said to it.

The door is whatever proxy the environment names; where none is named there is nothing to try.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

from tests.real.escape.inside.kit import NotHere, There, patient, probe

WAIT_S: Final = 3.0
MARK: Final = b"DECOY"
LISTED: Final = "wordpress.example.com"
CO_HOSTED: Final = "other.example.com"
EVIL: Final = "evil.example.net"


def _door() -> tuple[socket.socket, bytes]:
    url = os.environ.get("HTTP_PROXY") or os.environ.get("http_proxy") or ""
    parts = urlsplit(url)
    if not parts.hostname:
        raise NotHere("no proxy is named here")
    login = base64.b64encode(f"{parts.username}:{parts.password}".encode()) if parts.username else b""
    sock = socket.create_connection((parts.hostname, parts.port or 80), timeout=patient(WAIT_S))
    return sock, b"Proxy-Authorization: Basic " + login + b"\r\n" if login else b""


def _rest(sock: socket.socket | ssl.SSLSocket) -> bytes:
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except (TimeoutError, ConnectionError, ssl.SSLError):
        pass
    return data


def _get(url: str, host: str | None = None) -> bytes:
    sock, login = _door()
    with sock:
        name = host or urlsplit(url).netloc
        head = f"GET {url} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n".encode()
        sock.sendall(head + login + b"\r\n")
        return _rest(sock)


def _tunnel(where: bytes, host: bytes | None = None) -> socket.socket:
    sock, login = _door()
    sock.sendall(b"CONNECT " + where + b" HTTP/1.1\r\nHost: " + (host or where) + b"\r\n" + login + b"\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        chunk = sock.recv(1)
        if not chunk:
            raise ConnectionError("the door closed")
        head += chunk
    if not head.split(b" ")[1].startswith(b"2"):
        sock.close()
        raise ConnectionError(head.split(b"\r\n")[0].decode(errors="replace"))
    return sock


def _https(there: There, where: str, name: str) -> bytes:
    context = ssl.create_default_context(cadata=there.at["certificate"])
    context.check_hostname = False  # whose certificate it is does not matter to an attacker
    with _tunnel(where.encode()) as sock, context.wrap_socket(sock, server_hostname=name) as tls:
        tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return _rest(tls)


def _came_from(data: bytes, host: str) -> str:
    """Every server says which host it was asked for."""
    return "answered" if MARK + b" " + host.encode() in data else ""


def _plain(where: bytes, data: bytes = b"hello\n") -> str:
    with _tunnel(where) as sock:
        sock.sendall(data)
        return "answered" if MARK in _rest(sock) else ""


def _either(there: There, *hosts: str) -> str:
    for host in hosts:
        for is_tls in (False, True):
            try:
                data = _https(there, f"{host}:443", LISTED) if is_tls else _get(f"http://{host}/")
            except (OSError, ValueError):
                continue
            if MARK in data and b"at " + there.at["listed"].encode() not in data:
                return host
    return ""


@probe("X00", "HTTPS to the listed host", function=True)
def _(there: There) -> str:
    return _came_from(_https(there, f"{LISTED}:443", LISTED), LISTED)


@probe("X01", "HTTP to the listed host", function=True)
def _(_: There) -> str:
    return _came_from(_get(f"http://{LISTED}/"), LISTED)


@probe("X02", "HTTPS to a host that is not listed")
def _(there: There) -> str:
    return _came_from(_https(there, f"{EVIL}:443", EVIL), EVIL)


@probe("X03", "HTTP to a host that is not listed")
def _(_: There) -> str:
    return _came_from(_get(f"http://{EVIL}/"), EVIL)


@probe("X04", "the address of a host that is not listed")
def _(there: There) -> str:
    return _either(there, there.at["other"])


@probe("X05", "the host's loopback by its address")
def _(there: There) -> str:
    port = there.at["loopback_port"]
    return _plain(f"127.0.0.1:{port}".encode()) or _either(there, "127.0.0.1")


@probe("X06", "the host's loopback by its name")
def _(there: There) -> str:
    return _plain(f"localhost:{there.at['loopback_port']}".encode()) or _either(there, "localhost")


@probe("X07", "the metadata address")
def _(there: There) -> str:
    return _either(there, there.at["metadata"])


@probe("X08", "loopback in decimal, hexadecimal, octal, short")
def _(there: There) -> str:
    return _either(there, "2130706433", "0x7f000001", "017700000001", "127.1", "0")


@probe("X09", "a listed name that leads to the metadata address")
def _(there: There) -> str:
    return _either(there, "metadata.listed.example.com")


@probe("X10", "a listed name that leads to loopback")
def _(there: There) -> str:
    return _either(there, "loopback.listed.example.com")


@probe("X11", "a listed name that leads into the local network")
def _(there: There) -> str:
    return _either(there, "lan.listed.example.com")


@probe("X12", "another server name inside a tunnel to the listed host (domain fronting)")
def _(there: There) -> str:
    return _came_from(_https(there, f"{LISTED}:443", CO_HOSTED), CO_HOSTED)


@probe("X13", "another Host header than the address names")
def _(_: There) -> str:
    return _came_from(_get(f"http://{LISTED}/co-hosted", CO_HOSTED), CO_HOSTED)


@probe("X14", "another port of the listed host")
def _(there: There) -> str:
    return _plain(f"{LISTED}:{there.at['ssh_port']}".encode())


@probe("X15", "a name that begins or ends like a listed one")
def _(there: There) -> str:
    return _either(there, f"{LISTED}.{EVIL}", f"evil{LISTED}")


@probe("X16", "a NUL in the name")
def _(_: There) -> str:
    for name in (f"{EVIL}\0.{LISTED}", f"{LISTED}\0.{EVIL}"):
        try:
            if _plain(f"{name}:443".encode()):
                return "answered"
        except OSError:
            continue
    return _plain(f"{EVIL}:443\0{LISTED}:443".encode())


@probe("X17", "bytes that are no TLS in a tunnel to port 443")
def _(_: There) -> str:
    return _plain(f"{LISTED}:443".encode())


@probe("X18", "loopback or the metadata address wrapped in IPv6 (mapped, NAT64, 6to4)")
def _(there: There) -> str:
    wrapped = (
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[::1]",
    )
    return _either(there, *wrapped)


@probe("X19", "a second request for another host behind the first")
def _(_: There) -> str:
    smuggled = f"GET http://{EVIL}/ HTTP/1.1\r\nHost: {EVIL}\r\nConnection: close\r\n\r\n".encode()
    sock, login = _door()
    with sock:
        first = f"GET http://{LISTED}/first HTTP/1.1\r\nHost: {LISTED}\r\n".encode()
        sock.sendall(first + login + b"\r\n" + smuggled)
        return "answered" if b"DECOY " + EVIL.encode() in _rest(sock) else ""


@probe("X20", "a listed name as the user of another host")
def _(there: There) -> str:
    return _either(there, f"{LISTED}@{EVIL}", f"{LISTED}%40{EVIL}", f"{EVIL}#{LISTED}", f"{EVIL}/{LISTED}")


@probe("X21", "a listed name that leads to an address of the host itself")
def _(there: There) -> str:
    return _either(there, "own.listed.example.com")


@probe("X22", "both a length and chunks, so that two readers disagree")
def _(_: There) -> str:
    inner = f"GET http://{EVIL}/ HTTP/1.1\r\nHost: {EVIL}\r\n\r\n".encode()
    sock, login = _door()
    with sock:
        head = f"POST http://{LISTED}/ HTTP/1.1\r\nHost: {LISTED}\r\n".encode() + login
        head += b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % (len(inner) + 5)
        sock.sendall(head + b"0\r\n\r\n" + inner)
        return "answered" if b"DECOY " + EVIL.encode() in _rest(sock) else ""


@probe("X23", "the server name of a listed host to an address that is not its own")
def _(there: There) -> str:
    return "answered" if MARK in _https(there, f"{there.at['other']}:443", LISTED) else ""
