"""A private internet: one namespace that stands for the host, one that stands for everything else.

Every address is real in form and reaches nothing real: the two namespaces are joined to each other alone. Each server
says `DECOY`, the host it was asked for and the address it answered at, so that whoever hears it has got through.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["AT", "HOSTS", "Certificate", "made_certificate", "open_internet"]

CLONE_NEWNET: Final = 0x4000_0000
OWN, GATEWAY, LISTED, OTHER = "93.184.216.2", "93.184.216.1", "93.184.216.34", "93.184.216.35"
METADATA, METADATA6, LAN = "169.254.169.254", "fd00:ec2::254", "10.9.8.7"
INTERFACE: Final = "esc-host"
LOOPBACK_PORT, UDP_PORT, SSH_PORT, LISTEN_PORT, DNS_PORT = 18081, 9999, 22, 18099, 53
TUNNEL: Final = "stolen.tunnel.example"

AT: Final = {
    "interface": INTERFACE, "loopback_port": LOOPBACK_PORT, "metadata": METADATA, "metadata6": METADATA6, "lan": LAN,
    "other": OTHER, "listed": LISTED, "own": OWN, "udp_port": UDP_PORT, "resolver": OTHER, "ssh_port": SSH_PORT,
    "listen_port": LISTEN_PORT, "tunnel_name": TUNNEL, "host_alias": "intranet.decoy.example",
}  # fmt: skip

HOSTS: Final = f"""\
127.0.0.1 localhost loopback.listed.example.com
{LISTED} wordpress.example.com other.example.com
{OTHER} evil.example.net evilwordpress.example.com wordpress.example.com.evil.example.net
{METADATA} metadata.listed.example.com
{LAN} lan.listed.example.com intranet.decoy.example
{OWN} own.listed.example.com
"""
COMMIT: Final = "0123456789abcdef" * 2 + "01234567"
NAMES: Final = ("wordpress.example.com", "other.example.com", "evil.example.net")


class Certificate:
    """A certificate for every name, and the authority that signed it: strict clients take no leaf that is both."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "internet.pem"
        authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        authority = _signed(
            "Private Internet", authority_key, "Private Internet", authority_key, is_authority=True
        )
        leaf = _signed(NAMES[0], key, "Private Internet", authority_key, is_authority=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.public = authority.public_bytes(serialization.Encoding.PEM).decode()
        self.path.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
        self.path.chmod(0o600)


def _signed(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=6))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in NAMES]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        # key usage and identifiers: Python 3.13 asks for them
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )


def made_certificate(folder: Path) -> Certificate:
    """One certificate for this run."""
    return Certificate(folder)


class _Answer(socketserver.BaseRequestHandler):
    """HTTP, TLS or a line: whatever is asked is answered."""

    request: socket.socket
    server: _Server

    def handle(self) -> None:
        self.request.settimeout(5)
        with contextlib.suppress(OSError, ssl.SSLError):
            self._answer(self.server.welcome(self.request))

    def _answer(self, sock: socket.socket) -> None:
        asked = sock.recv(65536)
        host = "line"
        for line in asked.split(b"\r\n"):
            if line.lower().startswith(b"host:"):
                host = line[5:].strip().decode(errors="replace")
        body = f"DECOY {host} at {self.server.where(sock)}\n".encode()
        if b"/info/refs?" in asked.split(b"\r\n")[0]:  # git, which wants the branches of a repository
            body = f"{COMMIT}\trefs/heads/{host}\n".encode()
        is_http = b"HTTP/1." in asked
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        sock.sendall((head if is_http else b"") + body)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._context = context
        super().__init__((host, port), _Answer)

    def welcome(self, sock: socket.socket) -> socket.socket:
        """TLS where the client begins with it."""
        if sock.recv(1, socket.MSG_PEEK) == b"\x16":
            return self._context.wrap_socket(sock, server_side=True)
        return sock

    def where(self, sock: socket.socket) -> str:
        """Our end's address."""
        return str(sock.getsockname()[0])


class _Datagrams(socketserver.ThreadingUDPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), _Echo)


class _Echo(socketserver.BaseRequestHandler):
    """Says DECOY behind whatever it was sent, which a DNS client takes for an answer."""

    def handle(self) -> None:
        data, sock = self.request
        with contextlib.suppress(OSError):
            sock.sendto(data[:2] + struct.pack("!H", 0x8180) + data[4:] + b"DECOY", self.client_address)


def _serve(places: list[tuple[str, int]], datagrams: list[tuple[str, int]], context: ssl.SSLContext) -> None:
    servers: list[socketserver.BaseServer] = [_Server(host, port, context) for host, port in places]
    servers += [_Datagrams(host, port) for host, port in datagrams]
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()


def _ip(*words: str) -> None:
    done = subprocess.run(["/bin/ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextlib.contextmanager
def open_internet(certificate: Certificate) -> Iterator[None]:
    """Lay both namespaces and serve in them; this process enters the host's one for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "a network namespace")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path)
    ready, gone = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_world(libc, context, ready, gone)
    try:
        os.read(ready[0], 1)
        _ip("link", "add", INTERFACE, "type", "veth", "peer", "name", "wan", "netns", str(pid))
        _ip("addr", "add", f"{OWN}/24", "dev", INTERFACE)
        _ip("link", "set", INTERFACE, "up")
        _ip("link", "set", "lo", "up")
        _ip("-6", "addr", "add", "fd00:ec2::2/64", "dev", INTERFACE, "nodad")
        os.write(gone[1], b"x")
        os.read(ready[0], 1)
        _ip("route", "add", "default", "via", GATEWAY)
        loopback = [(host, port) for host in ("127.0.0.1", OWN) for port in (LOOPBACK_PORT, 80, 443)]
        _serve([*loopback, ("::1", LOOPBACK_PORT)], [("127.0.0.1", DNS_PORT)], context)
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _be_the_world(
    libc: ctypes.CDLL, context: ssl.SSLContext, ready: tuple[int, int], gone: tuple[int, int]
) -> None:
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            os._exit(1)
        libc.prctl(1, 9)  # PR_SET_PDEATHSIG: ends with the stage
        os.write(ready[1], b"x")
        os.read(gone[0], 1)
        _ip("link", "set", "lo", "up")
        for address in (f"{GATEWAY}/24", f"{LISTED}/24", f"{OTHER}/24", f"{METADATA}/32", f"{LAN}/32"):
            _ip("addr", "add", address, "dev", "wan")
        _ip("-6", "addr", "add", f"{METADATA6}/64", "dev", "wan", "nodad")
        _ip("link", "set", "wan", "up")
        v4 = [(host, port) for host in (LISTED, OTHER, METADATA, LAN) for port in (80, 443)]
        _serve([*v4, (LISTED, SSH_PORT), (METADATA6, 80)], [(OTHER, UDP_PORT), (OTHER, DNS_PORT)], context)
        os.write(ready[1], b"x")
        threading.Event().wait()
    finally:
        os._exit(1)
