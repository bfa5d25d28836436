"""Programs as they are, behind the door: listed hosts by every protocol of the web, and nothing else by any of them.

Each program runs in a network namespace that has nothing but the gate's four sockets, once knowing of a proxy and once
not. Names are resolved for real, by the gate and then by the system; servers stand in a third namespace.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dev
import pytest
from tests.real.egress_stage import IP, UNABLE

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

SYSTEM_PYTHON: Final = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
PLAY_S: Final = 240.0
EVIL: Final = "https://evil.example.net/"

URLLIB: Final = (
    "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode()[:200])"
)
HTTPX: Final = """
import sys, ssl, os, httpx2
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
with httpx2.Client(verify=context, follow_redirects=True, timeout=20) as client:
    for url in sys.argv[1:]:
        print(client.get(url).raise_for_status().text[:200])
"""
FETCH: Final = "fetch(process.argv[1]).then(r => r.text()).then(t => console.log(t.slice(0, 200)))"
WEBSOCKET: Final = """
const socket = new WebSocket(process.argv[1])
socket.onopen = () => socket.send('over the wall')
socket.onmessage = (event) => { console.log('heard', event.data); socket.close() }
socket.onerror = (event) => { console.error(event.message); process.exit(1) }
"""
H2: Final = """
const session = require('http2').connect(process.argv[1])
session.on('error', (error) => { console.error(error.message); process.exit(1) })
let left = 3
for (const path of ['/a', '/b', '/c']) {
  const stream = session.request({ ':path': path })
  stream.setEncoding('utf8')
  stream.on('data', (text) => console.log(text.trim()))
  stream.on('end', () => --left || session.close())
}
"""
BY_CONNECT: Final = """
import base64, os, socket
sock = socket.create_connection(("127.0.0.1", 3128), timeout=20)
sock.sendall(b"CONNECT api.example.com:80 HTTP/1.1\\r\\nHost: api.example.com:80\\r\\n\\r\\n")
assert b" 200 " in sock.recv(4096)
key = base64.b64encode(os.urandom(16))
sock.sendall(b"GET /chat HTTP/1.1\\r\\nHost: api.example.com\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
             b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: " + key + b"\\r\\n\\r\\n")
answer = b""
while not answer.endswith(b"\\r\\n\\r\\n"):
    answer += sock.recv(1)
assert b" 101 " in answer
sock.sendall(bytes([0x81, 0x80 | 2, 0, 0, 0, 0]) + b"hi")
print("heard", sock.recv(100)[2:].decode())
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One program; `prints` is part of what it must say, None when it must fail."""

    words: tuple[str, ...]
    prints: str | None
    proxy: bool = False
    needs: str = ""


def node22() -> str | None:
    """The newer node: the one that the project installed, or the system's own where that is new enough."""
    found = next((dev.CACHE / "demo" / "node").glob("node_modules/node-linux-*/bin/node"), None)
    if found is not None:
        return str(found.resolve())
    return shutil.which("node") if dev.node_major() >= dev.MIN_NODE else None


def _fetchers() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every way to get a page, and to follow where it leads."""
    yield "urllib", (SYSTEM_PYTHON, "-c", URLLIB)
    yield "httpx", (sys.executable, "-c", HTTPX)
    yield "node fetch", ("node", "-e", FETCH)
    yield "node22 fetch", (node22() or "node22", "-e", FETCH)
    yield "curl", ("curl", "-sSfL", "--max-time", "20")


def _jobs() -> Iterator[tuple[str, Job]]:
    for name, words in _fetchers():
        for proxy in (False, True):
            how = f"{name} {'with' if proxy else 'without'} proxy variables"
            for url in ("https://api.example.com/", "http://api.example.com/"):
                yield (
                    f"{how}: {url}",
                    Job(words=(*words, url), prints="answer of api.example.com", proxy=proxy),
                )
            for listed in ("https://cdn.example.com/", "http://cdn.example.com/"):
                url = f"https://api.example.com/redirect?to={listed}"
                yield (
                    f"{how}: redirect to {listed}",
                    Job(words=(*words, url), prints="answer of cdn", proxy=proxy),
                )
            for away in (EVIL, "http://evil.example.net/", *_PRIVATE):
                url = f"http://api.example.com/redirect?to={away}"
                yield f"{how}: redirect to {away}", Job(words=(*words, url), prints=None, proxy=proxy)
            yield f"{how}: {EVIL}", Job(words=(*words, EVIL), prints=None, proxy=proxy)
    yield from _others()


_PRIVATE: Final = (
    "http://metadata.listed.example.com/", "http://lan.listed.example.com/", "http://loopback.listed.example.com/",
    "https://own.listed.example.com/", "http://169.254.169.254/", "http://[::ffff:a9fe:a9fe]/", "http://0x7f.1/",
)  # fmt: skip


_WAYS_AROUND: Final = {
    "DNS over TCP": "s.create_connection(('127.0.0.1', 53), timeout=5)",
    "another name server": "s.socket(2, 2).sendto(b'x', ('93.184.216.35', 53))",
    "another name server by TCP": "s.create_connection(('93.184.216.35', 53), timeout=5)",
    "QUIC": "s.socket(2, 2).sendto(b'x', ('93.184.216.34', 443))",
    "the address itself": "s.create_connection(('93.184.216.34', 443), timeout=5)",
    "another port of a listed name": "s.create_connection(('api.example.com', 22), timeout=5)",
    "an address nobody was told": "c = s.create_connection(('127.1.200.200', 443), timeout=5); c.recv(1) or exit(1)",
    "IPv6": "s.create_connection(('2606:4700::1111', 443), timeout=5)",
}


def _others() -> Iterator[tuple[str, Job]]:
    for proxy in (False, True):
        how = f"{'with' if proxy else 'without'} proxy variables"
        api, cdn = "http://api.example.com", "http://cdn.example.com"
        clone = "rm -rf repo && git clone -q {}/files/repo.git repo && cat repo/file.txt"
        post = "head -c 2000000 /dev/zero | curl -sS --http1.1 --data-binary @- {}/post"
        for url in ("https://api.example.com", api):
            yield (
                f"git clone {url} {how}",
                Job(
                    words=("sh", "-c", clone.format(url)),
                    prints="from the internet",
                    proxy=proxy,
                    needs="git",
                ),
            )
            yield (
                f"a large body to {url} {how}",
                Job(words=("sh", "-c", post.format(url)), prints="2000000 bytes came", proxy=proxy),
            )
            yield (
                f"a large answer of {url} {how}",
                Job(words=("sh", "-c", f"curl -sS {url}/big | wc -c"), prints="3000000", proxy=proxy),
            )
        yield (
            f"HTTP/2 {how}",
            Job(
                words=("curl", "-sS", "--http2", "https://api.example.com/"),
                prints="by HTTP/2.0",
                proxy=proxy,
            ),
        )
        yield (
            f"several plain requests on a connection {how}",
            Job(
                words=("curl", "-sS", "-w", "%{num_connects},", f"{api}/a", f"{api}/b", f"{api}/c"),
                prints="0 bytes came\n0,answer of api.example.com by HTTP/1.1, 0 bytes came\n0,",
                proxy=proxy,
            ),
        )
        yield (
            f"plain requests to two hosts {how}",
            Job(
                words=(sys.executable, "-c", HTTPX, api, cdn, api),
                prints="answer of cdn.example.com",
                proxy=proxy,
            ),
        )
        yield (
            f"an upgrade to h2c {how}",
            Job(words=("curl", "-sS", "--http2", f"{api}/"), prints="by HTTP/1.1", proxy=proxy),
        )
    yield (
        "three streams of HTTP/2",
        Job(words=("node", "-e", H2, "https://api.example.com"), prints="by HTTP/2.0"),
    )
    for name, words in (("node", ("node", "--experimental-websocket")), ("node22", (node22() or "node22",))):
        for url in ("wss://api.example.com/chat", "ws://api.example.com/chat"):
            yield f"{name}: {url}", Job(words=(*words, "-e", WEBSOCKET, url), prints="heard over the wall")
        yield (
            f"{name}: another host's socket",
            Job(words=(*words, "-e", WEBSOCKET, "wss://evil.example.net/chat"), prints=None),
        )
    for what, code in _WAYS_AROUND.items():
        yield what, Job(words=(SYSTEM_PYTHON, "-c", "import socket as s\n" + code), prints=None)
    prior = ("curl", "-sSf", "--http2-prior-knowledge", "http://api.example.com/")
    yield "h2 with prior knowledge on port 80", Job(words=prior, prints=None)
    yield (
        "a socket through the proxy",
        Job(words=(SYSTEM_PYTHON, "-c", BY_CONNECT), prints="heard hi", proxy=True),
    )


JOBS: Final = dict(_jobs())


def _impediment() -> str:
    if IP is None or shutil.which("nsenter") is None:
        return "the private internet needs ip and nsenter (Debian packages iproute2, util-linux)"
    missing = [name for name in ("node", "curl", "git") if shutil.which(name) is None]
    return f"not on this machine: {', '.join(missing)}" if missing else ""


def _lacks(job: Job) -> str:
    return "node 22 is not here: python3 dev.py test installs it" if "node22" in job.words else ""


LEARNED: Final = {
    "a host nobody listed": Job(words=("curl", "-sS", EVIL), prints="answer of evil.example.net"),
    "in the clear": Job(
        words=("curl", "-sS", "http://evil.example.net/"), prints="answer of evil.example.net"
    ),
    "by the proxy": Job(words=("curl", "-sS", EVIL), prints="answer of evil.example.net", proxy=True),
    "a blocked host": Job(words=("curl", "-sSf", "https://cdn.example.com/"), prints=None),
    "another port": Job(words=("curl", "-sSf", "http://api.example.com:8080/"), prints=None, proxy=True),
    "metadata": Job(words=("curl", "-sSf", "http://metadata.listed.example.com/"), prints=None),
    "the local network": Job(
        words=("curl", "-sSf", "http://lan.listed.example.com/"), prints=None, proxy=True
    ),
    "this machine": Job(words=("curl", "-sSf", "https://own.listed.example.com/"), prints=None),
    "localhost": Job(words=("curl", "-sSf", "http://localhost:80/"), prints=None, proxy=True),
    "an address": Job(words=("curl", "-sSf", "https://93.184.216.35/"), prints=None, proxy=True),
}


@functools.cache
def played(*, learns: bool = False) -> dict[str, Any]:
    """All programs of one table, one after the other, in one house."""
    table = LEARNED if learns else JOBS
    jobs = {name: {"words": job.words, "proxy": job.proxy} for name, job in table.items() if not _lacks(job)}
    node = node22() or shutil.which("node")
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        done = subprocess.run(
            [sys.executable, "-m", "tests.real.egress_stage"], cwd=dev.ROOT, timeout=PLAY_S, check=False,
            input=json.dumps({"node": node, "jobs": jobs, "answer": str(answer), "learns": learns}),
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode == UNABLE:
            return {}
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(answer.read_text())
    return found


def _opened(*, learns: bool) -> dict[str, Any]:
    if _impediment():
        pytest.skip(_impediment())
    found = played(learns=learns)
    if not found:
        pytest.skip("this machine allows no namespaces of our own")
    return found


@pytest.fixture
def house() -> dict[str, Any]:
    return _opened(learns=False)


@pytest.fixture
def learning_house() -> dict[str, Any]:
    return _opened(learns=True)


@pytest.mark.requirement("A3.3")
@pytest.mark.threat("T-EGRESS")
@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize("name", JOBS)
def test_listed_hosts_are_reached_and_no_others(house: dict[str, Any], name: str) -> None:
    job = JOBS[name]
    if _lacks(job):
        pytest.skip(_lacks(job))
    said = house["said"][name]
    if job.prints is None:
        assert said["code"] != 0 or "sekisho egress gate: " in said["out"], said
        assert "answer of" not in said["out"]
    else:
        assert job.prints in said["out"], said


@pytest.mark.threat("T-EGRESS")
def test_only_listed_hosts_ever_heard_of_us(house: dict[str, Any]) -> None:
    seen = {(one["at"], one["host"].partition(":")[0]) for one in house["seen"]}
    assert seen == {("93.184.216.34", "api.example.com"), ("93.184.216.34", "cdn.example.com")}
    assert {one["version"] for one in house["seen"]} == {"1.1", "2.0", "websocket"}


def test_every_refusal_has_a_reason_and_names_what_was_wanted(house: dict[str, Any]) -> None:
    refused = [one for one in house["events"] if not one["allowed"]]
    reasons = {one["reason"] for one in refused}
    assert {
        "the name is not on the allow-list",
        "the host or port is not on the allow-list",
        "the name leads to an address that is not public",
        "not an HTTP/1.1 request: HTTP/2 is not spoken here",
    } <= reasons
    assert all(one["reason"] for one in refused)
    wanted = {one["host"] for one in refused}
    assert {"evil.example.net", "metadata.listed.example.com", "own.listed.example.com"} <= wanted


@pytest.mark.threat("T-EGRESS")
@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize("name", LEARNED)
def test_while_learning_public_names_are_reached_and_nothing_else(
    learning_house: dict[str, Any], name: str
) -> None:
    said, prints = learning_house["said"][name], LEARNED[name].prints
    assert (said["code"] == 0, prints in said["out"] if prints else True) == (prints is not None, True), said


def test_what_was_learned_is_written_down_and_proposed_by_name(learning_house: dict[str, Any]) -> None:
    learned = {(one["host"], one["port"]) for one in learning_house["events"] if one["is_learned"]}
    assert learned == {("evil.example.net", 443), ("evil.example.net", 80)}
    proposal = learning_house["proposal"]
    assert proposal["allowed_domains"] == ["evil.example.net"]
    assert [(one["port"], one["count"]) for one in proposal["learned"]] == [(80, 1), (443, 2)]
