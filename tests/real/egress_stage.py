"""A house with a door: the internet, the egress process and a plugin, each in a network namespace of its own.

`python -m tests.real.egress_stage` reads one JSON request (`jobs`: name → words and whether they know of the proxy),
plays it, and writes what every program said, what reached the internet and what the gate told to the file `answer`.
Names are resolved by the system, from a hosts file of this stage; addresses are real in form, and the namespaces are
joined to nothing else.

Works for root, and for anybody who may make user namespaces. Everything ends with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sekisho.egress import EgressEvent, EgressSettings, send_gate, serve
from sekisho.egress.proposal import propose
from sekisho.egress.record import read_entries
from sekisho.policy import NetworkGrant

__all__ = ["HOSTS", "IP", "LISTED_NAMES", "UNABLE", "main"]

UNABLE: Final = 77  # this machine allows no namespaces
IP: Final = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
JOB_S: Final = 40.0
NEWNS, NEWUSER, NEWNET = 0x0002_0000, 0x1000_0000, 0x4000_0000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
OWN, LISTED, OTHER, METADATA, LAN = (
    "93.184.216.2", "93.184.216.34", "93.184.216.35", "169.254.169.254", "10.9.8.7",
)  # fmt: skip
LISTED_NAMES: Final = ("api.example.com", "cdn.example.com")
HOSTS: Final = f"""\
127.0.0.1 localhost loopback.listed.example.com
{LISTED} api.example.com cdn.example.com
{OTHER} evil.example.net
{METADATA} metadata.listed.example.com
{LAN} lan.listed.example.com
{OWN} own.listed.example.com
"""
NETWORK: Final = NetworkGrant(allowed_domains=(*LISTED_NAMES, "*.listed.example.com"), blocked_domains=("*",))
LEARNING: Final = NetworkGrant(mode="learn", blocked_domains=("cdn.example.com", "*"))
PROXY: Final = "http://127.0.0.1:3128"
_libc: Final = ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        raise PermissionError(ctypes.get_errno(), "no namespace of our own")


def _mount(source: Path, target: str) -> None:
    if _libc.mount(str(source).encode(), os.path.realpath(target).encode(), b"", MS_BIND, None) != 0:
        raise PermissionError(ctypes.get_errno(), f"mount {target}")


def _ip(*words: str) -> None:
    assert IP is not None
    subprocess.run([IP, *words], check=True, capture_output=True)


def _enter(folder: Path, hosts: str, resolver: str) -> None:
    """A network and a mount namespace with a hosts file and a resolver of its own; user's too, without root."""
    identity = os.geteuid(), os.getegid()
    _unshare(NEWNS | NEWNET | (NEWUSER if identity[0] != 0 else 0))
    if identity[0] != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {identity[0]} 1")
        Path("/proc/self/gid_map").write_text(f"0 {identity[1]} 1")
    if _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise PermissionError(ctypes.get_errno(), "mounts of our own")
    texts = {"hosts": hosts, "resolv.conf": f"nameserver {resolver}\n", "nsswitch.conf": "hosts: files dns\n"}
    for name, text in texts.items():
        if Path("/etc", name).exists():
            (folder / name).write_text(text)
            _mount(folder / name, f"/etc/{name}")


def _write_certificates(folder: Path) -> Path:
    """An authority, and one certificate for every name; clients take no leaf that is both."""
    now, keys = (
        datetime.now(UTC),
        (ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())),
    )
    made = []
    for name, key in zip(("Private Internet", "leaf"), keys, strict=True):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Private Internet")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=2))
            .add_extension(x509.BasicConstraints(ca=key is keys[0], path_length=None), critical=True)
        )
        if key is not keys[0]:
            names = [x509.DNSName(one) for line in HOSTS.splitlines() for one in line.split()[1:]]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(made[0])
    (folder / "server.pem").write_bytes(private + made[1])
    return folder / "ca.pem"


def _write_repository(folder: Path) -> None:
    """A git repository as plain files, which is how any web server can serve one."""
    work, bare = folder / "work", folder / "files" / "repo.git"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    steps = (
        ["init", str(work)],
        ["-C", str(work), "add", "."],
        ["-C", str(work), "commit", "-m", "first"],
        ["clone", "--bare", str(work), str(bare)],
        ["-C", str(bare), "update-server-info"],
    )
    work.mkdir()
    (work / "file.txt").write_text("from the internet\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    for words in steps:
        subprocess.run([*git, *words], check=True, capture_output=True, env=environment)


@contextlib.contextmanager
def _internet(folder: Path, node: str) -> Iterator[Path]:
    """The internet runs behind a cable; the log of what reached it."""
    script = Path(__file__).with_name("egress_internet.mjs")
    log, (ready, told) = folder / "seen.jsonl", os.pipe()
    words = [
        node,
        str(script),
        str(folder / "server.pem"),
        str(folder / "files"),
        LISTED,
        OTHER,
        METADATA,
        LAN,
    ]
    child = os.fork()
    if child == 0:
        try:
            _libc.prctl(1, signal.SIGKILL)
            _unshare(NEWNET)
            os.write(told, b"x")
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 1)
            os.dup2(told, 3)
            os.read(os.open(folder / "laid", os.O_RDONLY), 1)  # a fifo: until the cable is in
            os.execv(node, words)  # noqa: S606 - the node that was named
        finally:
            os._exit(1)
    try:
        os.close(told)
        os.read(ready, 1)
        _ip("link", "add", "host", "type", "veth", "peer", "name", "wan", "netns", str(child))
        for name, addresses in (("host", [f"{OWN}/24"]),):
            for address in addresses:
                _ip("addr", "add", address, "dev", name)
        for name in ("host", "lo"):
            _ip("link", "set", name, "up")
        assert IP is not None
        inside = ["nsenter", f"--net=/proc/{child}/ns/net", IP]
        for address in (f"{LISTED}/24", f"{OTHER}/24", f"{METADATA}/32", f"{LAN}/32"):
            subprocess.run([*inside, "addr", "add", address, "dev", "wan"], check=True, capture_output=True)
        subprocess.run([*inside, "link", "set", "wan", "up"], check=True, capture_output=True)
        _ip("route", "add", "default", "via", LISTED)
        os.write(os.open(folder / "laid", os.O_WRONLY), b"x")
        assert os.read(ready, 1), "the internet does not come up"
        yield log
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


async def _play(request: dict[str, Any], folder: Path, log: Path) -> dict[str, Any]:
    events: list[EgressEvent] = []
    path, ready = folder / "gate.sock", asyncio.Event()
    network = LEARNING if request.get("learns") else NETWORK
    settings = EgressSettings(sockets={"a": (path, network)}, log_folder=folder / "log")
    async with asyncio.TaskGroup() as group:
        gate = group.create_task(serve(settings, ready=ready.set, on_event=events.append))
        await ready.wait()
        plugin = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.real.egress_stage", "plugin", str(folder), str(path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await plugin.communicate(json.dumps(request["jobs"]).encode())
        gate.cancel()
    seen = [json.loads(line) for line in log.read_text().splitlines()]
    return {
        "said": json.loads(out),
        "seen": [one for one in seen if "host" in one],
        "events": [asdict(event) for event in events],
        "proposal": asdict(propose(read_entries(folder / "log", "a"), network)),
    }


def _plugin(folder: Path, path: Path) -> None:
    """Behind the door: no network but the four sockets, which are handed over; then every program in turn."""
    jobs = json.load(sys.stdin)
    inner = folder / "plugin"
    inner.mkdir()
    _enter(inner, "127.0.0.1 localhost\n", "127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sH14s", b"lo", 1 | 64, b""))  # SIOCSIFFLAGS: up
    doors = []
    for kind, host, port in (
        (socket.SOCK_STREAM, "127.0.0.1", 3128),
        (socket.SOCK_STREAM, "0.0.0.0", 443),
        (socket.SOCK_STREAM, "0.0.0.0", 80),
        (socket.SOCK_DGRAM, "127.0.0.1", 53),
    ):
        door = socket.socket(socket.AF_INET, kind)
        door.bind((host, port))
        if kind is socket.SOCK_STREAM:
            door.listen(64)
        doors.append(door)
    with asyncio.run(send_gate(path, [door.fileno() for door in doors])):
        for door in doors:
            door.close()
        sys.stdout.write(json.dumps({name: _run(job, inner) for name, job in jobs.items()}))


def _run(job: dict[str, Any], home: Path) -> dict[str, Any]:
    ca = str(home.parent / "ca.pem")
    trust = dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"), ca)
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), PROXY)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "GIT_TERMINAL_PROMPT": "0", **trust,
        **(proxies if job["proxy"] else {}),
    }  # fmt: skip
    done = subprocess.run(
        job["words"], env=environment, cwd=home, capture_output=True, timeout=JOB_S, check=False, text=True
    )
    return {"code": done.returncode, "out": done.stdout[-4000:], "err": done.stderr[-4000:]}


def main() -> int:
    """One request on standard input, one answer in the file it names."""
    if sys.argv[1:2] == ["plugin"]:
        _plugin(Path(sys.argv[2]), Path(sys.argv[3]))
        return 0
    request = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="egress-") as name:
        folder = Path(name)
        _write_certificates(folder)
        _write_repository(folder)
        os.mkfifo(folder / "laid")
        try:
            _enter(folder, HOSTS, "192.0.2.1")
        except PermissionError:
            return UNABLE
        with (
            _internet(folder, request["node"]) as log,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            answer = runner.run(_play(request, folder, log))
    Path(request["answer"]).write_text(
        json.dumps(answer)
    )  # programs of the stage hold our standard output too
    return 0


if __name__ == "__main__":
    sys.exit(main())
