"""`sekisho connect`: a stdio front for clients that start a command; it relays to a running gateway over HTTPS.

Holds the token so that the client does not have to, trusts only the CA file it is given, and keeps nothing. Nothing but
messages leaves by standard output; what an operator may want to know goes to standard error. Here the parts are joined:
`stdio` reads and writes, `relay` knows what a message needs, `plugin_server.Upstream` carries it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Final

from sekisho.assembly.relay import Carrier, Relay
from sekisho.assembly.running import run_until_stopped
from sekisho.assembly.stdio import ClientPipes
from sekisho.errors import Misconfigured
from sekisho.plugin_server import Site, StaticHeaders, Upstream
from sekisho.protocol import JsonLimits, error_bytes

__all__ = ["run_connect"]

MAX_LINE_BYTES: Final = 16 << 20
DRAIN_S: Final = 30.0  # after the client closes its end, answers under way may still arrive
LOOK_S: Final = 0.1  # how soon it is noticed that nobody waits for them any more
LEAVE_S: Final = 0.8  # to end the session at the gateway


def run_connect(url: str, token_file: Path, ca_file: Path | None) -> None:
    """Relay standard input and output to the gateway at `url` until standard input ends."""
    try:
        token = token_file.read_text(encoding="ascii").strip()
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ValueError) as error:
        raise Misconfigured(
            "key_unavailable",
            f"the token or CA file cannot be read: {error}",
            remedy="check --token-file and --ca",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    run_until_stopped(_Connection(Site.parse(url), token, context).run())


class _Connection:
    """One client, from its start to its end."""

    def __init__(self, site: Site, token: str, context: ssl.SSLContext) -> None:
        self._site = site
        self._authoriser = StaticHeaders({"Authorization": f"Bearer {token}"})
        self._context = context
        self._carriers: list[Upstream] = []
        self._is_pressed = False
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Relay until the client sends no more, and what it still waits for has arrived."""
        pipes = ClientPipes(take=self._take, on_pressure=self._press, max_line_bytes=MAX_LINE_BYTES)
        self._relay = Relay(
            open_carrier=self._open,
            close_carrier=self._close,
            write=pipes.write,
            say=_say,
            limits=JsonLimits(max_bytes=MAX_LINE_BYTES),
        )
        try:
            await pipes.open(os.dup(sys.stdin.fileno()), os.dup(sys.stdout.fileno()))
            problem = await pipes.ended()
            if problem is not None:
                pipes.write(error_bytes(None, problem))
                _say(f"the client is not read any further: {problem.message}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._drain(pipes)
        finally:
            await self._leave()
            pipes.close()

    async def _drain(self, pipes: ClientPipes) -> None:
        while not pipes.is_gone():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._relay.wait_idle(), LOOK_S)
                break
        await pipes.finish()

    def _take(self, line: bytes) -> None:
        self._relay.take(line)

    def _open(self, relay: Relay) -> Carrier:
        carrier = Upstream(
            self._site,
            hearer=relay,
            max_body_bytes=MAX_LINE_BYTES,
            authoriser=self._authoriser,
            context=self._context,
            may_be_private=True,  # the gateway is ours
            is_our_gate=True,
            on_session_lost=lambda: relay.reopened(carrier),
            on_end=lambda error: relay.forgotten(carrier, error),
        )
        carrier.hold(is_held=self._is_pressed)
        self._carriers.append(carrier)
        return carrier

    def _close(self, carrier: Carrier) -> None:
        self._carriers = [one for one in self._carriers if one is not carrier]
        if isinstance(carrier, Upstream):
            self._spawn(carrier.close())

    def _press(self, is_pressed: bool) -> None:
        """The client does not keep up, or does again."""
        self._is_pressed = is_pressed
        for carrier in self._carriers:
            carrier.hold(is_held=is_pressed)

    async def _leave(self) -> None:
        self._relay.leave()
        for carrier in self._carriers:
            self._spawn(carrier.close())
        if self._closing:
            await asyncio.wait(self._closing, timeout=LEAVE_S)
        for task in tuple(self._closing):
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _say(what: str) -> None:
    from sekisho.detect.hidden import visible  # noqa: PLC0415 - nobody who ends well needs it

    sys.stderr.write(f"sekisho connect: {visible(what)}\n")
    sys.stderr.flush()
