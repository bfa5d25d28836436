"""One login: what the page was told and what the answer is exchanged with belong together."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from urllib.parse import parse_qs, urlencode, urlsplit

from sekisho.credentials.callback import CALLBACK_PATH, open_callback
from sekisho.credentials.code_login import code_form
from sekisho.credentials.grants import Form
from sekisho.credentials.metadata import Server, read_server

ISSUER = "https://login.example"
WAIT_S = 20.0


def _server() -> Server:
    return read_server(
        b'{"issuer":"https://login.example","authorization_endpoint":"https://login.example/page",'
        b'"token_endpoint":"https://login.example/token","code_challenge_methods_supported":["S256"]}',
        ISSUER,
    )


async def _visit(port: int, **query: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {CALLBACK_PATH}?{urlencode(query)} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    )
    status = await reader.readline()
    writer.close()
    return status


async def _login(*wrong_states: str) -> tuple[dict[str, list[str]], Form, list[bytes]]:
    pages: list[dict[str, list[str]]] = []
    seen: list[bytes] = []
    async with open_callback() as callback:

        async def open_page(url: str) -> None:
            pages.append(parse_qs(urlsplit(url).query))
            for state in (*wrong_states, pages[0]["state"][0]):
                seen.append(await _visit(callback.port, code=f"code-for-{state}", state=state))

        form = await asyncio.wait_for(
            code_form(callback, open_page, server=_server(), client_id="me", scopes=("a",), resource="r"),
            WAIT_S,
        )
    return pages[0], form, seen


async def test_the_verifier_is_that_of_the_challenge_the_page_was_told() -> None:
    page, form, _ = await _login()
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert page["code_challenge"] == [base64.urlsafe_b64encode(digest).rstrip(b"=").decode()]
    assert form["redirect_uri"] == page["redirect_uri"][0]
    assert form["grant_type"] == "authorization_code"


async def test_an_answer_with_another_state_is_no_answer() -> None:
    page, form, seen = await _login("forged")
    assert [status.split()[1] for status in seen] == [b"400", b"200"]
    assert form["code"] == f"code-for-{page['state'][0]}"


async def test_no_two_logins_share_state_or_verifier() -> None:
    (one, form, _), (two, other, _) = await _login(), await _login()
    assert one["state"] != two["state"]
    assert form["code_verifier"] != other["code_verifier"]
