"""One connection out of a sandbox, from its first byte to its last.

Three roads: a request to the explicit proxy, a connection to a synthetic address on port 443, and one on port
80. Each first learns what is wanted, then lets `Outlet` judge and open it, then carries bytes. On every road:
- inside TLS the server name must equal the host that was asked for, before the first byte goes out, and in a second
  greeting too (`retry`);
- where the plugin's TLS is opened, the real host proves itself to the gate, and what is inside is judged like plain HTTP;
- a secret's placeholder becomes its value in requests to that secret's hosts, and is refused elsewhere (`injection`);
- plain HTTP, on ports other than 443, is one judged request after another; the connection to the host is used again
  only for the same host, and only after an answer that ended where it said it would;
- a plain WebSocket is carried unread once the host has agreed to it;
- a tunnel to `localhost` carries anything, because its address and port were granted as such.
Every tunnel and every request is one event, whether it was let through or not; a refused request also gets an answer
in words.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from sekisho.egress.custody import Custody, nothing_held
from sekisho.egress.event import EgressEvent, Kind
from sekisho.egress.exchange import After, exchange
from sekisho.egress.hello import ALERT_ACCESS_DENIED, server_name
from sekisho.egress.injection import PlaceholderWatch, names_placeholder
from sekisho.egress.outlet import Outlet
from sekisho.egress.relay import relay
from sekisho.egress.retry import Greetings
from sekisho.egress.stream import Stream
from sekisho.egress.tls_stream import TlsStream, carry
from sekisho.egress.tunnel import (
    OTHER_HOST,
    ProxyRequest,
    Target,
    find_head,
    judge_origin_request,
    judge_proxy_request,
    refusal_bytes,
)
from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.policy import LOCALHOST

__all__ = ["Journey"]

_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_TLS_FIRST_BYTE: Final = b"\x16"
_HTTP_PORT: Final = 80
KEEP_ALIVE_S: Final = 60.0  # a connection between two requests holds a place of its plugin
_LAST_WORDS_TIMEOUT_S: Final = 1.0  # a refused client gets no more of our time


class Journey:
    """One connection. Serve it once, by one of the three roads; what a peer does ends in an event, not an
    error."""

    def __init__(
        self,
        *,
        plugin: str,
        client: Stream,
        outlet: Outlet,
        on_event: Callable[[EgressEvent], None],
        custody: Callable[[], Custody | None] = nothing_held,
    ) -> None:
        self._custody = custody
        self._is_secure = False  # what the plugin sends came inside TLS that ends here
        self._plugin = plugin
        self._client = client
        self._outlet = outlet
        self._on_event = on_event
        self._kind: Kind = "connection"
        self._target = Target(host="", port=0)
        self._host: Stream | None = None
        self._host_target: Target | None = None
        self._is_told = False  # nothing has begun since the last event
        self._told_bytes = 0
        self._host_bytes = 0  # sent on connections that are closed already
        self._answer: Callable[[SekishoError], bytes] = _silence

    async def serve_proxy(self) -> None:
        """The explicit proxy: CONNECT, or one absolute-form request."""
        self._kind, self._answer = "proxy", _in_words
        await self._serve(self._proxy)

    async def serve_tls(self, target: Target) -> None:
        """A connection to a synthetic address on port 443."""
        self._kind, self._target = "tls", target
        await self._serve(self._tls)

    async def serve_http(self, target: Target) -> None:
        """A connection to a synthetic address on port 80."""
        self._kind, self._target, self._answer = "http", target, _in_words
        await self._serve(self._http)

    async def _serve(self, road: Callable[[], Awaitable[None]]) -> None:
        try:
            await road()
        except SekishoError as error:
            await self._refuse(error)
        except TimeoutError:
            await self._refuse(Refused("egress_refused", "it took too long to say what it wants"))
        except OSError:
            self._report("the connection broke", allowed=False)
        except asyncio.CancelledError:
            self._report("the gate was closed", allowed=self._host is not None)
            raise
        else:
            self._report("", allowed=True)
        finally:
            if self._is_secure:
                self._client.end()  # without a goodbye inside TLS, an answer that ends here looks cut
            self._hang_up()

    async def _proxy(self) -> None:
        request = judge_proxy_request(await self._head())
        if not request.is_tunnel:
            self._kind = "http"
            await self._converse(request, judge_proxy_request)
            return
        self._kind, self._target = "tunnel", request.target
        host = await self._opened()
        self._answer = _silence  # after the 200 a line of text would be taken for the host's answer
        await self._client.write(_ESTABLISHED)
        if self._target.host == LOCALHOST:
            await relay(self._client, host)
        elif self._target.port == _HTTP_PORT and not await self._client.look(_begins_tls):
            await self._http()
        else:
            await self._tls()

    async def _tls(self) -> None:
        await self._check_greeting()
        custody = self._custody()
        if custody is not None and custody.opens_tls:
            await self._open_tls(custody)
            return
        host = await self._opened()
        self._answer = _silence
        await relay(self._client, host, watch=Greetings(self._target.host))

    async def _check_greeting(self) -> None:
        """Inside TLS the host that was asked for must be named, plainly and alone."""
        road, self._kind = self._kind, "host"
        name = await self._client.look(server_name)
        self._answer = _by_alert
        if name != self._target.host:
            raise Refused("egress_refused", "the TLS server name is another host")
        self._kind = road

    async def _open_tls(self, custody: Custody) -> None:
        """End the plugin's TLS here, and go on with what is inside."""
        if custody.authority is None:
            raise Refused("egress_refused", "TLS is to be opened, and no lease allows it")
        inside = TlsStream(self._client, custody.authority.context_for(self._target.host))
        self._answer = _silence  # TLS has said in its own words what it did not like
        try:
            await inside.shake_hands()
        except ssl.SSLError as error:
            reason = f"the plugin and the gate found no TLS in common ({error.reason})"
            raise Refused("egress_refused", reason) from error
        self._client, self._is_secure, self._answer = inside, True, _in_words
        await self._http()

    async def _http(self) -> None:
        judge = partial(judge_origin_request, target=self._target, is_secure=self._is_secure)
        await self._converse(judge(await self._head()), judge)

    async def _converse(self, request: ProxyRequest, judge: Callable[[bytes], ProxyRequest]) -> None:
        """Carry one judged request after another."""
        in_words = self._answer
        while True:
            self._target = request.target
            after = await self._exchange(request)
            if after == "switched" and self._host is not None:
                carry_on = carry if self._is_secure else relay
                await carry_on(self._client, self._host)
            if after != "kept":
                return
            self._report("", allowed=True)
            if not await self._has_another():
                return
            self._is_told, self._answer = False, in_words
            request = judge(await self._head())
            if request.is_tunnel:
                raise Refused("egress_refused", "a tunnel needs a connection of its own")

    async def _exchange(self, request: ProxyRequest) -> After:
        custody = self._custody()
        if custody is None:
            host = await self._opened()
            self._answer = _silence
            return await exchange(self._client, host, request)
        prepared = custody.injection.prepare(request, is_secure=self._is_secure)
        host = await self._opened()
        in_words, said = self._answer, self._client.sent
        self._answer = _silence
        try:
            return await exchange(
                self._client,
                host,
                prepared.request,
                masks=prepared.masks,
                watch=PlaceholderWatch().feed,
            )
        except Refused:
            if self._client.sent == said:
                self._answer = in_words  # the host has not begun to answer, so words will be understood
            raise

    async def _head(self) -> bytes:
        return self._client.take(await self._client.look(find_head))

    async def _has_another(self) -> bool:
        """Wait for the first byte of another request; silence and a client that leaves are ordinary ends."""
        try:
            async with asyncio.timeout(KEEP_ALIVE_S):
                return self._client.ahead_bytes > 0 or await self._client.more()
        except OSError:
            return False

    async def _opened(self) -> Stream:
        """A connection to the target: the one there is, if it still fits, or a new one."""
        if self._host is not None and (self._host_target != self._target or not self._host.is_quiet):
            self._hang_up()
        if names_placeholder(self._target.host):
            raise Refused("secret_refused", "a placeholder stands in a host name")
        if self._host is None:
            self._host = Stream(await self._outlet.open(self._target), self._client.share)
            self._host_target = self._target
        if self._is_secure and not isinstance(self._host, TlsStream):
            self._host = await self._secured(self._host)
        return self._host

    async def _secured(self, host: Stream) -> TlsStream:
        """TLS to the real host, which must prove that it is the one the plugin asked for."""
        custody = self._custody()
        if custody is None or custody.outer is None:
            raise Refused("egress_refused", "TLS is to be opened, and no lease allows it")
        secured = TlsStream(host, custody.outer, server_name=self._target.host)
        try:
            await secured.shake_hands()
        except ssl.SSLCertVerificationError as error:
            reason = f"the certificate of the host is not valid: {error.verify_message}"
            raise Refused("egress_refused", reason) from error
        except OSError as error:
            raise Unavailable("plugin_unavailable", "the host does not speak TLS as it should") from error
        return secured

    def _hang_up(self) -> None:
        if self._host is not None:
            self._host_bytes += self._host.sent
            self._host.sock.close()
            self._host = None

    async def _refuse(self, error: SekishoError) -> None:
        if error.message == OTHER_HOST:
            self._kind = "host"
        if error.code == "secret_refused":
            self._kind = "secret"
        self._report(error.message, allowed=False)
        words = self._answer(error)
        if not words:
            return
        try:
            async with asyncio.timeout(_LAST_WORDS_TIMEOUT_S):
                await self._client.write(words)
                self._client.end()
                while await self._client.read():
                    continue  # closing on unread bytes resets the connection, and the words would be lost
        except OSError:
            return

    def _report(self, reason: str, *, allowed: bool) -> None:
        if self._is_told:
            return
        self._is_told = True
        carried = self._client.sent + self._host_bytes + (self._host.sent if self._host is not None else 0)
        told, self._told_bytes = self._told_bytes, carried
        self._on_event(
            EgressEvent(
                plugin=self._plugin,
                kind=self._kind,
                host=self._target.host,
                port=self._target.port,
                allowed=allowed,
                reason=reason,
                bytes=carried - told,
                is_learned=allowed and self._outlet.is_learned(self._target),
            )
        )


def _begins_tls(data: bytes) -> bool:
    return data.startswith(_TLS_FIRST_BYTE)


def _silence(_error: SekishoError) -> bytes:
    return b""


def _in_words(error: SekishoError) -> bytes:
    return refusal_bytes(error.message, is_unreachable=isinstance(error, Unavailable))


def _by_alert(_error: SekishoError) -> bytes:
    return ALERT_ACCESS_DENIED
