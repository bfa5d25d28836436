"""Nothing that a client sends beside its message reaches a plugin: no credential, no cookie, no header of its own.

The plugin lives at a URL and records every byte of every request. The client sends each header that proxies are known to
pass on, with a value that occurs nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.real.conftest import House, common, message
from tests.real.recorder import Recorder, recording

from sekisho.credentials.vault import Held, Tokens, Vault
from sekisho.keys import KeyFolder

pytestmark = [pytest.mark.real]

CREDENTIALS = [
    *("Authorization", "Proxy-Authorization", "X-API-Key", "Api-Key", "X-Auth-Token", "X-Access-Token"),
    *(
        "X-Amz-Security-Token",
        "X-Goog-Api-Key",
        "X-GitHub-Token",
        "X-CSRF-Token",
        "X-Session-Token",
        "Cookie",
    ),
    *("X-Amzn-Oidc-Data", "X-Forwarded-Access-Token", "X-Id-Token", "X-Client-Cert", "DPoP", "Private-Token"),
]
TRACES = [
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-User", "Via"),
    *("X-Forwarded-Email", "X-Real-IP", "X-Remote-User", "X-Request-Id", "X-Correlation-Id", "X-Tenant"),
    *(
        "User-Agent",
        "Referer",
        "From",
        "Accept-Language",
        "X-Custom-Header",
        "X-Envoy-Original-Path",
        "Baggage",
    ),
    *("Traceparent", "Tracestate", "Last-Event-ID", "Mcp-Param-Secret", "Mcp-Custom", "Priority"),
]
# What a request of ours to a plugin may carry at most; each is made by the plugin server.
OURS = {
    *("host", "content-type", "content-length", "accept", "connection", "mcp-protocol-version"),
    *("mcp-session-id", "mcp-method", "mcp-name"),
}
UPSTREAM_TOKEN = "token-of-this-plugin-alone"
OAUTH = '[plugins.servers.oauth]\ngrant = "authorization_code"\nclient_id = "me"\n'


def _canary(name: str) -> str:
    return f"canary-{name.lower()}-7f3a"


def _configuration(recorder: Recorder, more: str = "") -> str:
    entry = (
        '[[plugins.servers]]\nname = "far"\nallowed_operations = ["note"]\nmax_requests_per_minute = 100000\n'
    )
    return common() + entry + f'upstream = "{recorder.url}"\n' + more


def _laden(house: House) -> dict[str, str]:
    """Headers of a client that sends all it has; its own token is where it belongs."""
    headers = {name: _canary(name) for name in (*CREDENTIALS, *TRACES)}
    headers["Traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers["Authorization"] = f"Bearer {house.token}"
    return headers


def _speak(house: House, path: str, tool: str) -> list[httpx2.Response]:
    """A legacy session with everything a client does, with laden requests, and one modern call."""
    plain = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "laden", "version": "1"},
    }
    call = {"name": tool, "arguments": {"text": "hello"}}
    url = house.url.removesuffix("/mcp") + path
    with httpx2.Client(verify=house.context, timeout=30) as http:
        laden = _laden(house)
        first = http.post(url, content=message("initialize", hello), headers=plain | laden)
        session = {
            "Mcp-Session-Id": first.headers["mcp-session-id"],
            "MCP-Protocol-Version": "2025-11-25",
        }
        ready = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
        http.post(url, content=ready, headers=plain | laden | session)
        listed = http.post(url, content=message("tools/list", {}, 2), headers=plain | laden | session)
        called = http.post(url, content=message("tools/call", call, 3), headers=plain | laden | session)
        envelope = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "laden", "version": "1"},
        }
        modern = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool}
        body = message("tools/call", call | {"_meta": envelope}, 4)
        last = http.post(
            url,
            content=body,
            headers=plain
            | {name: value for name, value in laden.items() if name != "Mcp-Param-Secret"}
            | modern,
        )
    return [first, listed, called, last]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A plugin at a URL."""
    with recording() as server:
        yield server


def _start(tmp_path: Path, text: str) -> House:
    return House(tmp_path, text)


@pytest.mark.threat("T-PASSTHROUGH")
def test_no_header_of_a_client_reaches_a_plugin(walls: None, tmp_path: Path, recorder: Recorder) -> None:
    house = _start(tmp_path, _configuration(recorder))
    try:
        answers = _speak(house, "/mcp", "far__note") + _speak(house, "/p/far/mcp", "note")
    finally:
        house.stop()
    assert [answer.status_code for answer in answers] == [200] * 8
    assert recorder.calls == 4
    assert recorder.names <= OURS
    heard = "\n".join(recorder.heard).lower()
    assert house.token.lower() not in heard
    assert "canary" not in heard
    assert "noted hello" in answers[2].text  # the harmless twin: the message itself arrived


@pytest.mark.threat("T-PASSTHROUGH")
def test_a_plugin_gets_its_own_token_and_never_the_clients(walls: None, tmp_path: Path) -> None:
    with recording(UPSTREAM_TOKEN) as recorder:
        home = tmp_path / "home"
        vault = Vault(home / "credentials", "far", KeyFolder(home / "keys"))
        tokens = Tokens(access=UPSTREAM_TOKEN, resource=recorder.url)
        vault.write(Held(issuer="https://auth.example").with_tokens("https://auth.example", tokens))
        house = _start(tmp_path, _configuration(recorder, OAUTH))
        try:
            answers = _speak(house, "/mcp", "far__note")
        finally:
            house.stop()
        heard = "\n".join(recorder.heard)
        said = house.stderr.read_text() + house.log.read_text()
    assert [answer.status_code for answer in answers] == [200] * 4
    assert recorder.names <= OURS | {"authorization"}
    assert f"Authorization: Bearer {UPSTREAM_TOKEN}" in heard
    assert house.token not in heard
    assert "canary" not in heard.lower()
    assert UPSTREAM_TOKEN not in said + "".join(answer.text for answer in answers)


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "rojo=00f067aa0ba902b7"


def _call_with(house: House, *, meta: dict[str, str] | None = None, **headers: str) -> None:
    """One modern call that says a trace."""
    envelope = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    call = {"name": "far__note", "arguments": {"text": "hello"}, "_meta": envelope | (meta or {})}
    usual = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {house.token}",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "far__note",
    }
    with httpx2.Client(verify=house.context, timeout=30) as http:
        answer = http.post(house.url, content=message("tools/call", call), headers=usual | headers)
    assert answer.status_code == 200
    assert "noted hello" in answer.text


def _trace_of(heard: str) -> tuple[dict[str, str], dict[str, str]]:
    """What a request to the plugin says of its trace in its head and in its `_meta`."""
    lines, _, body = heard.partition("\n\n")
    names = ("traceparent", "tracestate", "baggage")
    fields = [line.partition(": ") for line in lines.split("\n")[1:]]
    meta = json.loads(body)["params"].get("_meta", {})
    return (
        {name.lower(): value for name, _, value in fields if name.lower() in names},
        {name: value for name, value in meta.items() if name in names},
    )


@pytest.mark.threat("T-PASSTHROUGH")
def test_trace_context_that_is_wanted_passes_through_both_halves_and_nothing_else_does(
    walls: None, tmp_path: Path, recorder: Recorder
) -> None:
    wanted = 'trace_context = ["traceparent", "tracestate"]\n'
    other = PARENT.replace("0af7", "1bf8")
    house = _start(tmp_path, _configuration(recorder, wanted))
    try:
        _call_with(house, Traceparent=PARENT, Tracestate=STATE, Baggage="canary-tenant=7")
        _call_with(house, meta={"traceparent": other}, Traceparent=PARENT, Tracestate=STATE)
        _call_with(house, Traceparent=f"{PARENT}-canary", Tracestate=STATE)
        _call_with(house, meta={"traceparent": "canary\r\nX-Evil: 1"}, Tracestate=STATE)
        _call_with(house)
        intents = [one for one in house.records() if one["kind"] == "intent"]
    finally:
        house.stop()
    calls = [_trace_of(one) for one in recorder.heard if '"tools/call"' in one]
    whole = {"traceparent": PARENT, "tracestate": STATE}
    assert calls == [
        (whole, whole),
        ({"traceparent": other}, {"traceparent": other}),
        ({}, {}),
        ({}, {"traceparent": "canary\r\nX-Evil: 1"}),  # what a client writes there itself is text
        ({}, {}),
    ]
    assert ["meta" in one for one in intents] == [True, True, False, True, False]
    assert recorder.names <= OURS | {"traceparent", "tracestate"}
