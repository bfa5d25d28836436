"""A plugin at a URL that is a server of the official SDK: real sockets, both eras, TLS, and the older transport."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sekisho.errors import SekishoError
from sekisho.keys import KeyFolder, Role, SpiffeId
from sekisho.plugin_server import Reach, StaticHeaders, connect_url
from sekisho.plugin_server.listing import list_surface
from sekisho.plugin_server.opening import EraMemory, ask, handshake, open_session
from sekisho.plugin_server.remote import Remote
from sekisho.protocol import JsonLimits, Notification, Request

pytestmark = pytest.mark.real

WAIT_S = 20.0
SITE = Path(__file__).with_name("sdk_site.py")
LIMITS = JsonLimits(max_bytes=1 << 20)
Json = dict[str, Any]


@contextmanager
def _server(*words: str) -> Iterator[int]:
    """The port of a server that runs until this is left."""
    process = subprocess.Popen([sys.executable, str(SITE), *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with _server("streamable") as found:
        yield found


@asynccontextmanager
async def _open(url: str, *, modern: bool, reach: Reach | None = None) -> AsyncIterator[Remote]:
    async with (
        asyncio.timeout(2 * WAIT_S),
        connect_url(
            url=url,
            limits=LIMITS,
            on_list_changed=lambda: None,
            may_ask=("elicitation",),
            reach=reach,
        ) as remote,
    ):
        opened = await (
            open_session(remote.session, EraMemory(), WAIT_S) if modern else handshake(remote.session, WAIT_S)
        )
        surface = await list_surface(remote.session, opened, WAIT_S)
        assert len(surface.tools) == 6
        assert remote.session.modern == modern
        yield remote


async def _call(remote: Remote, tool: str, **arguments: object) -> str:
    params: Json = {"name": tool, "arguments": arguments}
    result = json.loads(await ask(remote.session, "tools/call", params, WAIT_S))
    assert not result.get("isError"), result
    return str(result["content"][0]["text"])


@pytest.mark.parametrize("modern", [True, False])
async def test_many_calls_at_once_get_their_own_answers(port: int, *, modern: bool) -> None:
    async with _open(f"http://127.0.0.1:{port}/mcp", modern=modern) as remote:
        answers = await asyncio.gather(*(_call(remote, "echo", text=f"text {n} ü") for n in range(40)))
        assert list(answers) == [f"text {n} ü" for n in range(40)]


@pytest.mark.parametrize("modern", [True, False])
async def test_progress_comes_before_the_answer(port: int, *, modern: bool) -> None:
    async with _open(f"http://127.0.0.1:{port}/mcp", modern=modern) as remote:
        notes: list[Json] = []
        answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        remote.session.request(
            "tools/call",
            {"name": "counting", "arguments": {}},
            answered.set_result,
            note=lambda said: notes.extend(json.loads(one) for one in said.splitlines()),
        )
        assert b"counted" in await answered  # type: ignore[operator]  # an error would not be bytes
        assert [note["progress"] for note in notes] == [0, 1, 2]


async def test_a_modern_server_finds_the_annotated_argument_in_its_header(port: int) -> None:
    async with _open(f"http://127.0.0.1:{port}/mcp", modern=True) as remote:
        assert await _call(remote, "placed", region="eu") == "eu for eu"
        assert await _call(remote, "placed", region="zürich") == "=?base64?esO8cmljaA==?= for zürich"


@pytest.mark.threat("T-PASSTHROUGH")
@pytest.mark.parametrize("modern", [True, False])
async def test_a_server_gets_a_fixed_set_of_headers_and_the_credentials_chosen_for_it(
    port: int, *, modern: bool
) -> None:
    reach = Reach(authoriser=StaticHeaders({"Authorization": "Bearer for-the-plugin"}))
    async with _open(f"http://127.0.0.1:{port}/mcp", modern=modern, reach=reach) as remote:
        came = dict(line.split(": ", 1) for line in (await _call(remote, "told")).splitlines())
        own = {"mcp-method", "mcp-name"} if modern else {"mcp-session-id"}
        fixed = {"host", "content-length", "content-type", "accept", "authorization", "mcp-protocol-version"}
        assert set(came) == fixed | own
        assert came["authorization"] == "Bearer for-the-plugin"


class Person:
    """Answers what a plugin asks."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self.of: list[int | None] = []

    def asked(self, request: Request, of: int | None) -> None:
        self.of.append(of)
        self._remote.session.answer_plugin(request.id, b'{"action":"accept","content":{"word":"open"}}')

    def told(self, notification: Notification, of: int | None) -> None:
        """Nothing to say."""

    def answered_late(self, ident: int | str | None) -> None:
        """Nothing to do."""


async def test_a_legacy_server_asks_on_the_stream_of_its_call_and_is_answered(port: int) -> None:
    async with _open(f"http://127.0.0.1:{port}/mcp", modern=False) as remote:
        person = remote.session.listener = Person(remote)
        assert await _call(remote, "asking") == "open"
        assert len(person.of) == 1
        assert person.of[0] is not None


async def test_a_stream_that_the_server_closed_is_resumed(port: int) -> None:
    async with _open(f"http://127.0.0.1:{port}/mcp", modern=False) as remote:
        assert await _call(remote, "broken_off") == "resumed"


async def test_the_older_transport_is_found_where_there_is_no_other() -> None:
    with _server("sse") as port:
        async with _open(f"http://127.0.0.1:{port}/sse", modern=False) as remote:
            answers = await asyncio.gather(*(_call(remote, "echo", text=f"{n}") for n in range(20)))
            assert list(answers) == [f"{n}" for n in range(20)]


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """A server that shows a certificate for localhost of an authority of its own, whose file is ca.pem."""
    keys = KeyFolder(tmp_path / "keys", "example.org")
    keys.ensure_authority(time.time())
    spiffe = SpiffeId(trust_domain="example.org", role=Role.PLUGIN, name="site")
    identity = keys.ensure_identity(spiffe, time.time(), dns=("localhost",))
    (tmp_path / "ca.pem").write_bytes(keys.ca_pem())
    with _server("streamable", str(identity.cert_path), str(identity.key_path)) as found:
        yield found


async def test_tls_trusts_the_authority_that_was_configured(tls_port: int, tmp_path: Path) -> None:
    reach = Reach(ca_path=tmp_path / "ca.pem")
    async with _open(f"https://localhost:{tls_port}/mcp", modern=True, reach=reach) as remote:
        assert await _call(remote, "echo", text="sealed") == "sealed"


@pytest.mark.threat("T-MITM")
@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("localhost", lambda folder: Reach()),  # an authority nobody trusts
        ("127.0.0.1", lambda folder: Reach(ca_path=folder / "ca.pem")),  # the name of another host
    ],
)
async def test_a_certificate_that_proves_nothing_is_refused(
    tls_port: int, tmp_path: Path, host: str, reach: Callable[[Path], Reach]
) -> None:
    with pytest.raises(SekishoError) as caught:
        async with _open(f"https://{host}:{tls_port}/mcp", modern=True, reach=reach(tmp_path)):
            pass
    assert caught.value.code == "plugin_unavailable"
    assert "certificate" in str(caught.value)
