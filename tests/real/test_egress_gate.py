"""The gate over real sockets: TLS and HTTP servers on loopback, and a plugin in its own network namespace."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import textwrap
from pathlib import Path

import pytest
from tests.real.egress_door import LOOPS, NETWORK, Door, Internet, LoopFactory, through

from sekisho.egress import EgressEvent, EgressSettings, serve

pytestmark = pytest.mark.real


@LOOPS
def test_https_to_a_listed_host_works_through_the_proxy(tmp_path: Path, loop_factory: LoopFactory) -> None:
    async def play(door: Door, _internet: Internet) -> None:
        answer = await door.tunnel("api.example.com", "api.example.com")
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert len(answer) > 300_000

    door = through(tmp_path, loop_factory, play)
    assert [(event.host, event.allowed) for event in door.events] == [("api.example.com", True)]
    assert door.events[0].bytes > 300_000


@LOOPS
def test_http_to_a_listed_host_works_and_carries_our_head(tmp_path: Path, loop_factory: LoopFactory) -> None:
    async def play(door: Door, internet: Internet) -> None:
        answer = await door.raw(
            b"GET http://api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\nTE: x\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert internet.seen == [b"GET /x HTTP/1.1\r\nhost: api.example.com\r\n\r\n"]

    through(tmp_path, loop_factory, play)


@LOOPS
@pytest.mark.threat("T-EGRESS")
def test_domain_fronting_ends_the_handshake(tmp_path: Path, loop_factory: LoopFactory) -> None:
    async def play(door: Door, internet: Internet) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await door.tunnel("api.example.com", "other.example.com")
        assert internet.seen == []

    door = through(tmp_path, loop_factory, play)
    assert [event.reason for event in door.events] == ["the TLS server name is another host"]


# What a plugin tries at the proxy, one by one, in the words of the proxy protocol.
PROBES = {
    "X02 a host that is not listed": "CONNECT evil.example:443",
    "X03 plain HTTP to it": "GET http://evil.example/",
    "X04 an address literal": "CONNECT 93.184.216.34:443",
    "X05 loopback": "CONNECT 127.0.0.1:443",
    "X06 localhost": "CONNECT localhost:443",
    "X07 metadata": "GET http://169.254.169.254/",
    "X08 decimal loopback": "CONNECT 2130706433:443",
    "X08 hex loopback": "CONNECT 0x7f000001:443",
    "X08 short loopback": "CONNECT 127.1:443",
    "X08 IPv6 loopback": "CONNECT [::1]:443",
    "X09 a listed name at metadata": "CONNECT metadata.listed.example:443",
    "X10 a listed name at loopback": "CONNECT me.listed.example:443",
    "X11 a listed name in the local network": "CONNECT lan.listed.example:443",
    "X14 another port": "CONNECT api.example.com:22",
    "X15 a prefix": "CONNECT evilapi.example.com:443",
    "X15 a suffix": "CONNECT api.example.com.evil.example:443",
    "X16 a NUL": "CONNECT api.example.com\0.evil.example:443",
}


@pytest.mark.requirement("A3.3")
@pytest.mark.threat("T-EGRESS")
@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize("probe", PROBES)
def test_every_probe_is_refused_in_words_and_reported(tmp_path: Path, probe: str) -> None:
    line = PROBES[probe]
    host = line.split(" ")[1].removeprefix("http://").rstrip("/")

    async def play(door: Door, internet: Internet) -> None:
        answer = await door.raw(f"{line} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 403 Forbidden")
        assert answer.count(b"sekisho egress gate: ") == 1
        assert internet.seen == []

    door = through(tmp_path, asyncio.new_event_loop, play)
    assert [event.allowed for event in door.events] == [False]
    assert door.events[0].reason


@pytest.mark.threat("T-EGRESS")
def test_another_host_header_and_raw_bytes_are_refused(tmp_path: Path) -> None:
    async def play(door: Door, internet: Internet) -> None:
        connect = b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n"
        assert b"403" in await door.raw(b"GET http://api.example.com/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert await door.raw(connect + b"raw bytes\n") == b"HTTP/1.1 200 Connection established\r\n\r\n"
        assert internet.seen == []

    door = through(tmp_path, asyncio.new_event_loop, play)
    assert [event.reason for event in door.events] == ["the Host header names another host", "not TLS"]


# Runs in a process of its own: makes a network namespace, hands its sockets over, then behaves like a plugin.
PLUGIN = textwrap.dedent(
    """
    import ctypes, fcntl, json, os, socket, ssl, struct, sys, urllib.request
    path, certificate = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000 | 0x40000000) != 0:
        sys.exit(77)
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(control, 0x8914, struct.pack("16sH14s", b"lo", 1 | 64, b""))
    except OSError:
        sys.exit(77)
    def opened(kind, host, port):
        sock = socket.socket(socket.AF_INET, kind)
        sock.bind((host, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
        return sock
    S, D = socket.SOCK_STREAM, socket.SOCK_DGRAM
    gate = [opened(S, "127.0.0.1", 3128), opened(S, "0.0.0.0", 443), opened(S, "0.0.0.0", 80)]
    gate.append(opened(D, "127.0.0.1", 53))
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sender.connect(path)
    socket.send_fds(sender, [b'{"v":1}'], [sock.fileno() for sock in gate])
    for sock in gate:
        sock.close()
    socket.setdefaulttimeout(10)
    def resolve(name):
        question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\\0"
        asker = socket.socket(socket.AF_INET, D)
        asker.connect(("127.0.0.1", 53))
        asker.send(struct.pack("!6H", 7, 256, 1, 0, 0, 0) + question + struct.pack("!2H", 1, 1))
        reply = asker.recv(512)
        if reply[3] & 15:
            raise OSError("rcode %d" % (reply[3] & 15))
        return socket.inet_ntoa(reply[-4:])
    def lookup(host, port, *rest, **named):
        address = host if host[0].isdigit() else resolve(host)
        return [(socket.AF_INET, S, 6, "", (address, port))]
    socket.getaddrinfo = lookup
    def fetch(url, proxy):
        proxies = {"http": proxy, "https": proxy} if proxy else {}
        context = ssl.create_default_context(cafile=certificate)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(url, timeout=60) as answer:
                return "%d %d" % (answer.status, len(answer.read()))
        except OSError as error:
            return "refused: " + str(getattr(error, "reason", error))
    def reach(address, port):
        try:
            socket.create_connection((address, port), timeout=5).close()
        except OSError as error:
            return "refused: " + str(error)
        return "reached"
    proxy = "http://127.0.0.1:3128"
    print(json.dumps({
        "https proxy": fetch("https://api.example.com/", proxy),
        "http proxy": fetch("http://api.example.com/", proxy),
        "https direct": fetch("https://api.example.com/", None),
        "http direct": fetch("http://api.example.com/", None),
        "https other proxy": fetch("https://evil.example/", proxy),
        "https other direct": fetch("https://evil.example/", None),
        "http metadata": fetch("http://metadata.listed.example/", None),
        "address literal": reach("93.184.216.34", 443),
    }))
    """
)


@LOOPS
@pytest.mark.requirement("A3.3")
@pytest.mark.threat("T-EGRESS")
def test_a_plugin_in_its_own_network_namespace_reaches_listed_hosts_and_nothing_else(
    tmp_path: Path, loop_factory: LoopFactory
) -> None:
    path = tmp_path / "egress-a.sock"
    events: list[EgressEvent] = []

    async def scene() -> tuple[int | None, bytes, bytes]:
        internet = Internet(tmp_path)
        ready = asyncio.Event()
        settings = EgressSettings(sockets={"a": (path, NETWORK)}, log_folder=tmp_path / "log")
        async with asyncio.timeout(60), internet.running(), asyncio.TaskGroup() as group:
            task = group.create_task(
                serve(settings, ready=ready.set, on_event=events.append, outlet_for=internet.outlet)
            )
            await ready.wait()
            plugin = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-c",
                PLUGIN,
                str(path),
                str(internet.certificate),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await plugin.communicate()
            task.cancel()
        return plugin.returncode, out, err

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        status, out, err = runner.run(scene())
    if status == 77:
        pytest.skip("this machine does not allow a network namespace of our own")
    assert status == 0, err.decode()
    found = json.loads(out)
    assert {
        name: found[name] for name in ("https proxy", "http proxy", "https direct", "http direct")
    } == dict.fromkeys(("https proxy", "http proxy", "https direct", "http direct"), "200 300000")
    assert "403" in found["https other proxy"]
    assert "rcode 3" in found["https other direct"]
    assert "Forbidden" in found["http metadata"]
    assert "unreachable" in found["address literal"]
    assert [event.host for event in events if not event.allowed] == [
        "evil.example",
        "evil.example",
        "metadata.listed.example",
    ]
