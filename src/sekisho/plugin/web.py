"""JSON over HTTP(S) to one place, for plugins that stand before a web service.

Guarantees
- it speaks to the origin it was made for and to nobody else: a redirect is an answer like any other, never followed;
- answers are bounded in time and size, and must be JSON where JSON is expected;
- what goes wrong on the way becomes a typed fault without an address, a path or a header in its words.

Standard library; loaded when the first request is made, so a plugin that is only asked for its tools starts light. It
knows no proxy: inside the walls an allowed name leads to the gate by itself.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from sekisho.plugin.faults import TooLarge, Unreachable, UpstreamFault, WallsDiffer

if TYPE_CHECKING:
    import http.client
    import socket
    import ssl

__all__ = ["Reply", "WebClient"]

MAX_REPLY_BYTES: Final = 8 << 20
TIMEOUT_S: Final = 20.0
_PATH: Final = re.compile(
    r"/[A-Za-z0-9/._~!$&'()*+,;=:@%-]*"
)  # of RFC 3986, and no query: that is given apart
_ALLOWED_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises `UpstreamFault` when it is none."""
        try:
            return json.loads(self.body.decode("utf-8"))
        except (ValueError, RecursionError):
            raise UpstreamFault("the service answered with something that is not JSON") from None


class WebClient:
    """Requests to one origin."""

    def __init__(self, url: str, *, headers: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise WallsDiffer("the address of the service must be http(s)://host[:port][/path]")
        if parts.username is not None:
            raise WallsDiffer("the address of the service must not carry a user or a password")
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Accept": "application/json", **headers}
        self._timeout_s = timeout_s
        self._context: ssl.SSLContext | None = None

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Reply:
        """One request and its whole answer.

        Raises:
            Unreachable: no answer in time, or none at all.
            TooLarge: the answer is larger than it may be.
            UpstreamFault: the answer is not HTTP.
        """
        import http.client  # noqa: PLC0415 - see the head of this page

        if method not in _ALLOWED_METHODS or not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            raise ValueError("not a request of ours")
        target = self._prefix + path + ("?" + urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        connection = self._connection()
        try:
            connection.connect()
            with _limited(connection.sock, self._timeout_s) as is_over:
                connection.request(method, target, body=data, headers=headers)
                answer = connection.getresponse()
                content = answer.read(MAX_REPLY_BYTES + 1)
        except OSError:
            raise Unreachable("the service cannot be reached") from None
        except http.client.IncompleteRead:
            raise Unreachable("the service did not end its answer") from None
        except http.client.HTTPException:
            raise UpstreamFault("the service answered with something that is not HTTP") from None
        finally:
            connection.close()
        is_cut = len(content) <= MAX_REPLY_BYTES and bool(answer.length)  # http.client says nothing of it
        if is_over.is_set() or is_cut:
            raise Unreachable("the service did not end its answer")
        if len(content) > MAX_REPLY_BYTES:
            raise TooLarge("the service answered with more than this plugin carries")
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(status=answer.status, headers=found, body=content)

    def _connection(self) -> http.client.HTTPConnection:
        import http.client  # noqa: PLC0415

        if not self._is_tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        if self._context is None:
            import ssl  # noqa: PLC0415

            self._context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=self._context
        )


@contextlib.contextmanager
def _limited(sock: socket.socket, limit_s: float) -> Iterator[threading.Event]:
    """Hang up when the whole of it takes too long: the limit of a socket begins anew with every byte that drips in."""
    is_over = threading.Event()
    alarm = threading.Timer(limit_s, _hang_up, [sock, is_over])
    alarm.daemon = True
    alarm.start()
    try:
        yield is_over
    finally:
        alarm.cancel()


def _hang_up(sock: socket.socket, is_over: threading.Event) -> None:
    import socket  # noqa: PLC0415 - loaded by now

    is_over.set()
    with contextlib.suppress(OSError):
        # The plain socket's own: that of TLS would change what another thread is reading.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
