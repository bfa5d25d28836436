"""JSON over HTTP to one place, against a real server on loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sekisho.plugin import TooLarge, Unreachable, UpstreamFault, WallsDiffer, WebClient
from sekisho.plugin.web import MAX_REPLY_BYTES


class _Site(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, dict[str, str], bytes]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        type(self).seen.append((self.command, self.path, dict(self.headers), body))
        if self.path == "/x/cut":
            self._send(200, b'{"ok": true}', **{"Content-Length": "500"})
        elif self.path == "/x/drip":
            self._drip()
        elif self.path == "/x/huge":
            self._send(200, b"x" * (MAX_REPLY_BYTES + 1))
        elif self.path == "/x/away":
            self._send(302, b"", location="http://127.0.0.1:1/evil")
        elif self.path == "/x/html":
            self._send(200, b"<html>")
        else:
            self._send(201, json.dumps({"ok": True}).encode())

    do_POST = do_GET  # noqa: N815 - the name http.server asks for

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        pause = threading.Event()
        with contextlib.suppress(OSError):
            while not pause.wait(0.02):  # until the other side hangs up
                self.wfile.write(b"x")

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """The tests read `seen` instead."""


@pytest.fixture
def site() -> Iterator[WebClient]:
    _Site.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield WebClient(
            f"http://127.0.0.1:{server.server_port}/x/", headers={"Authorization": "Basic abc"}, timeout_s=10
        )
        server.shutdown()
        thread.join()


def test_a_request_carries_query_body_and_headers(site: WebClient) -> None:
    reply = site.request("POST", "/posts", query={"q": "a&b", "page": 2}, body={"title": "日本"})
    method, path, headers, body = _Site.seen[0]
    assert (method, path) == ("POST", "/x/posts?q=a%26b&page=2")
    assert json.loads(body) == {"title": "日本"}
    assert headers["Authorization"] == "Basic abc"
    assert (reply.status, reply.json()) == (201, {"ok": True})


def test_a_redirect_is_an_answer_and_is_not_followed(site: WebClient) -> None:
    assert site.request("GET", "/away").status == 302
    assert len(_Site.seen) == 1


def test_an_answer_without_end_is_refused(site: WebClient) -> None:
    with pytest.raises(TooLarge):
        site.request("GET", "/huge")


def test_an_answer_that_drips_for_ever_ends_in_time(site: WebClient) -> None:
    hasty = WebClient(f"http://127.0.0.1:{site._port}/x", headers={}, timeout_s=0.3)
    with pytest.raises(Unreachable):
        hasty.request("GET", "/drip")


def test_an_answer_that_was_cut_is_no_answer(site: WebClient) -> None:
    with pytest.raises(Unreachable):
        site.request("GET", "/cut")


def test_an_answer_that_is_not_json_is_the_services_fault(site: WebClient) -> None:
    with pytest.raises(UpstreamFault):
        site.request("GET", "/html").json()


def test_a_service_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes the port meanwhile
        nobody = WebClient(f"http://127.0.0.1:{bound.getsockname()[1]}", headers={})
        with pytest.raises(Unreachable) as failed:
            nobody.request("GET", "/")
    assert "127.0.0.1" not in failed.value.message
    assert failed.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example",
        "https://",
        "https://u:p@a.example",
        "https://a.example/?x=1",
        "a.example",
        "file:///a",
    ],
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(WallsDiffer):
        WebClient(url, headers={})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("TRACE", "/"),
        ("GET", "a"),
        ("GET", "/ü"),
        ("CONNECT", "/"),
        ("GET", "/a/../b"),
        ("GET", "/a?b"),
        ("GET", "/a b"),
        ("GET", "/a\r\nX: y"),
    ],
)
def test_a_request_that_no_plugin_should_make_is_not_made(site: WebClient, method: str, path: str) -> None:
    with pytest.raises(ValueError, match="request"):
        site.request(method, path)
    assert not _Site.seen
