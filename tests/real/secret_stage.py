"""A plugin in a real sandbox, the gate in front of it, and hosts outside that answer with what they were sent.

The hosts stand on loopback behind one public address; their certificates come from an authority of this stage, which the
gate is told to trust and the plugin never sees. One host shows a certificate of somebody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sekisho.assembly.enclosed import enclosed
from sekisho.assembly.sandbox_spec import sandbox_spec
from sekisho.config import Workload, load_plugin
from sekisho.egress import EgressEvent, EgressSettings, Outlet, outer_context, send_gate, serve, take_lease
from sekisho.policy import Address, NetworkGrant, is_public
from sekisho.sandbox import Bubblewrap

__all__ = ["VALUE", "Said", "Stage", "staged"]

VALUE: Final = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
PUBLIC: Final = "93.184.216.34"
PYTHON: Final = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
NAMES: Final = ("api.example.com", "other.example.com", "a.listed.example", "expired.example.com")
PROGRAM_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a program inside said and how it ended."""

    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """Its output, as JSON."""
        assert self.out, self.err
        return dict(json.loads(self.out))


@dataclass(slots=True)
class Stage:
    """The running whole."""

    workload: Workload
    folder: Path
    seen: list[tuple[str, bytes]] = field(
        default_factory=list
    )  # (scheme, head and body) as hosts received them
    events: list[EgressEvent] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def refusals(self) -> list[tuple[str, str]]:
        """Kind and reason of what the gate refused."""
        return [(one.kind, one.reason) for one in self.events if not one.allowed]

    async def run(self, *words: str, has_lease: bool = True) -> Said:
        """Run one program inside, until it ends."""
        with contextlib.ExitStack() as stack:
            lease = stack.enter_context(await take_lease(self.folder / "lease.sock")) if has_lease else None
            inside = enclosed(self.workload, lease, self.environment)
            spec = sandbox_spec(replace(self.workload, command=words), self.environment, inside)
            async with asyncio.timeout(PROGRAM_S), Bubblewrap() as driver:
                sandbox = await driver.launch(await driver.plan(spec))
                try:
                    assert sandbox.gate_sockets is not None
                    stack.enter_context(await send_gate(self.folder / "gate.sock", sandbox.gate_sockets.fds))
                    out, err = await asyncio.gather(_all(sandbox.stdout_fd), _all(sandbox.stderr_fd))
                finally:
                    await sandbox.kill_tree()
                    sandbox.close_fds()
        return Said(out, err)

    async def python(self, code: str, *, has_lease: bool = True) -> Said:
        """Run a Python program inside."""
        return await self.run(PYTHON, "-I", "-c", code, has_lease=has_lease)

    async def outlet_dial(self, address: Address, port: int) -> socket.socket:
        assert str(address) == PUBLIC
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.ports[str(port)]))
        return sock

    async def _answer(self, scheme: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Echo: the whole request, as JSON, in the way its path asks for."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await _body(head, reader)
                self.seen.append((scheme, head + body))
                if b"upgrade: websocket" in head.lower():
                    writer.write(
                        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
                    )
                    while data := await reader.read(1000):
                        writer.write(b"heard " + data)
                    return
                echo = json.dumps({"request": (head + body).decode("latin-1")}).encode()
                if b"/compressed" in head.split(b"\r\n")[0]:  # whatever the request said of codings
                    packed = gzip.compress(echo)
                    coding = b"br" if b"/compressed-br" in head.split(b"\r\n")[0] else b"gzip"
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s"
                        % (coding, len(packed), packed)
                    )
                elif b"/chunked" in head.split(b"\r\n")[0]:
                    half = len(echo) // 2
                    framed = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (echo[:half], echo[half:]))
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"
                    )
                else:
                    shown = next(
                        (one for one in head.split(b"\r\n") if one.lower().startswith(b"x-show:")), b"x-show:"
                    )
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nX-Echo:%s\r\nContent-Length: %d\r\n\r\n%s"
                        % (shown.partition(b":")[2], len(echo), echo)
                    )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def staged(
    folder: Path, secrets: str, *, intercept: bool = True, domains: Sequence[str] = NAMES
) -> AsyncIterator[Stage]:
    """Raise the stage for a plugin with these lines in its `secrets` table."""
    configuration = folder / "plugin.toml"
    listed = json.dumps([*domains, "*.listed.example"])
    configuration.write_text(
        f'[plugin_server]\nname = "p"\ncommand = ["{PYTHON}"]\n[network_policy]\nallowed_domains = {listed}\n'
        f"intercept_tls = {json.dumps(intercept)}\n[sandbox]\nmax_memory_mb = 1024\n[secrets]\n{secrets}\n"
    )
    stage = Stage(load_plugin(configuration).workload, folder)
    stage.environment["PATH"] = "/usr/local/bin:/usr/bin:/bin"
    ca = _write_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "host.pem")
    expired = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    expired.load_cert_chain(folder / "expired.pem")
    context.sni_callback = lambda sock, name, _context: (
        setattr(sock, "context", expired) if name == "expired.example.com" else None
    )
    grants = stage.workload.grants
    settings = EgressSettings(
        sockets={"p": (folder / "gate.sock", grants.network)},
        log_folder=folder / "log",
        leases={"p": (folder / "lease.sock", grants)},
    )

    async def resolve(_host: str) -> Sequence[Address]:
        return [ip_address(PUBLIC)]

    def outlet(network: NetworkGrant) -> Outlet:
        return Outlet(network, resolve=resolve, dial=stage.outlet_dial, is_allowed_address=is_public)

    async with (
        await asyncio.start_server(
            lambda r, w: stage._answer("https", r, w), "127.0.0.1", 0, ssl=context
        ) as tls,
        await asyncio.start_server(lambda r, w: stage._answer("http", r, w), "127.0.0.1", 0) as http,
        asyncio.TaskGroup() as group,
    ):
        stage.ports = {"443": tls.sockets[0].getsockname()[1], "80": http.sockets[0].getsockname()[1]}
        ready = asyncio.Event()
        task = group.create_task(
            serve(
                settings,
                ready=ready.set,
                on_event=stage.events.append,
                outlet_for=outlet,
                environment={"TOKEN": VALUE, "WORD": "password"},
                outer=outer_context(str(ca)),
            )
        )
        await ready.wait()
        yield stage
        task.cancel()


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        return await reader.readuntil(b"0\r\n\r\n")
    _, found, rest = lowered.partition(b"content-length:")
    return await reader.readexactly(int(rest.split(b"\r\n")[0])) if found else b""


async def _all(descriptor: int) -> str:
    """Everything until the other end closes."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(os.dup(descriptor), "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        return (await reader.read()).decode()
    finally:
        transport.close()


def _write_certificates(folder: Path) -> Path:
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
    made = []
    for index, (key, ends) in enumerate(zip(keys, (1, 1, -1), strict=True)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(issuer if index == 0 else x509.Name([]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=3))
            .not_valid_after(now + timedelta(hours=ends))
            .add_extension(x509.BasicConstraints(ca=index == 0, path_length=None), critical=True)
        )
        if index:
            names = x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES])
            builder = builder.add_extension(names, critical=True)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    for name, key, certificate in (("host.pem", keys[1], made[1]), ("expired.pem", keys[2], made[2])):
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / name).write_bytes(private + certificate)
    (folder / "ca.pem").write_bytes(made[0])
    return folder / "ca.pem"
