"""What the gate issues to a plugin before it starts, and takes back when the plugin server is gone: placeholders for its
secrets, and the certificate of an authority if its TLS is opened.

- Values are read here, in the egress process, and never leave it but in requests to their hosts. What is told is
  placeholders and a certificate.
- A lease lives as long as the connection on which it was asked for. With it go placeholders, values and the authority's
  key. So the other side learns at once that a lease ended, also when this process did.
- A secret that cannot be read is answered with a sentence and a remedy, to that plugin alone.
- A keyring that waits for a person is asked once, however often the plugin server asks meanwhile, and keeps one thread.
- Only our own user (or root) may ask; no sandbox sees this socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import msgspec

from sekisho.credentials.references import read_reference
from sekisho.egress.custody import Custody
from sekisho.egress.handoff import accept, check_sender
from sekisho.egress.injection import RANDOM_BYTES, Injection, Planted, placeholder
from sekisho.egress.interception import InterceptionAuthority
from sekisho.errors import Misconfigured, RemoteProtocolError, SekishoError, Unavailable
from sekisho.keys.files import random_bytes
from sekisho.policy.grants import Grants

__all__ = ["Lease", "LeaseDesk", "take_lease"]

logger = logging.getLogger("sekisho.egress")
MAX_MESSAGE_BYTES: Final = 64 << 10  # a hundred secrets and a certificate are a fifth of it
READ_TIMEOUT_S: Final = 20.0  # a keyring that asks a person has that long
LOOK_S: Final = (
    0.05  # how often a plugin server that starts beside the egress process looks whether it listens
)
PATIENCE_S: Final = 20.0


class _Refusal(msgspec.Struct):
    message: str
    remedy: str


class _Told(msgspec.Struct, omit_defaults=True):
    """The one message on the connection."""

    v: int = 1
    placeholders: dict[str, str] = {}
    certificate: str = ""
    refusal: _Refusal | None = None


class LeaseDesk:
    """Issues the leases of one plugin, and knows which of them live."""

    def __init__(
        self,
        grants: Grants,
        environment: Mapping[str, str],
        *,
        clock: Callable[[], float],
        outer: ssl.SSLContext | None = None,
    ) -> None:
        self._outer = outer
        self._grants = grants
        self._secrets = tuple(one for one in grants.secrets if not one.in_environment)
        self._environment = environment
        self._clock = clock
        self._live: list[tuple[tuple[Planted, ...], InterceptionAuthority | None]] = []
        self._custody = self._gathered()
        self._reading: asyncio.Future[list[str]] | None = None

    @property
    def custody(self) -> Custody:
        """The secrets of all live leases (an old sandbox may still be ending), and the newest authority."""
        return self._custody

    async def serve(self, listener: socket.socket) -> None:
        """Issue leases until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._serve_one(await accept(listener)))

    async def _serve_one(self, connection: socket.socket) -> None:
        with connection:
            try:
                check_sender(connection)
                async with asyncio.timeout(READ_TIMEOUT_S):
                    lease = self._issue(await asyncio.shield(self._values()))
            except RemoteProtocolError:
                return
            except TimeoutError:
                _tell(
                    connection,
                    _Told(refusal=_Refusal("a secret took too long to read", "unlock the keyring")),
                )
                return
            except SekishoError as error:
                _tell(connection, _Told(refusal=_Refusal(error.message, error.remedy)))
                return
            except Exception as error:  # noqa: BLE001 - the top of this task: the others keep their leases
                # Without its words: whatever failed had values in its hands.
                logger.error("egress_lease_failed", extra={"error": type(error).__name__})
                _tell(connection, _Told(refusal=_Refusal("a secret cannot be read", "see the log of egress")))
                return
            planted, authority = lease
            self._live.append(lease)
            self._custody = self._gathered()
            try:
                marks = {one.grant.name: one.placeholder.decode("ascii") for one in planted}
                certificate = "" if authority is None else authority.certificate_pem
                if _tell(connection, _Told(placeholders=marks, certificate=certificate)):
                    await _wait_end(connection)
            finally:
                self._live.remove(lease)
                self._custody = self._gathered()

    def _values(self) -> asyncio.Future[list[str]]:
        """What is read now, by whoever asked first: it may take longer than they wait."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().run_in_executor(None, self._read)
            self._reading.add_done_callback(self._have_read)
        return self._reading

    def _read(self) -> list[str]:
        return [read_reference(one.reference, self._environment) for one in self._secrets]

    def _have_read(self, reading: asyncio.Future[list[str]]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # else, where nobody waits any more, asyncio would log it with its words

    def _issue(self, values: list[str]) -> tuple[tuple[Planted, ...], InterceptionAuthority | None]:
        planted = tuple(
            Planted(
                grant=one,
                placeholder=placeholder(random_bytes(RANDOM_BYTES)).encode("ascii"),
                value=value,
            )
            for one, value in zip(self._secrets, values, strict=True)
        )
        network = self._grants.network
        if not network.intercept_tls:
            return planted, None
        now = datetime.fromtimestamp(self._clock(), UTC)
        return planted, InterceptionAuthority(
            None if network.mode == "learn" else network.allowed_domains, now
        )

    def _gathered(self) -> Custody:
        authorities = [authority for _, authority in self._live if authority is not None]
        return Custody(
            injection=Injection(one for planted, _ in self._live for one in planted),
            authority=authorities[-1] if authorities else None,
            opens_tls=self._grants.network.intercept_tls,
            outer=self._outer,
        )


class Lease:
    """A lease as its plugin server holds it. A context: leaving it gives everything back."""

    def __init__(self, connection: socket.socket, told: _Told) -> None:
        self._connection = connection
        self.placeholders: Mapping[str, str] = told.placeholders
        self.certificate = told.certificate

    async def wait_ended(self) -> None:
        """Return when the egress process has ended, and with it what the plugin was given."""
        await _wait_end(self._connection)

    def close(self) -> None:
        """Give it back."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


async def take_lease(path: Path, *, patience_s: float = PATIENCE_S) -> Lease:
    """Ask the egress process for what the plugin at this socket needs before it starts.

    Raises:
        Misconfigured: a secret cannot be read.
        Unavailable: the egress process does not answer.
    """
    try:
        async with asyncio.timeout(patience_s):
            connection = await _connected(path)
            try:
                told = _read(await asyncio.get_running_loop().sock_recv(connection, MAX_MESSAGE_BYTES))
            except BaseException:
                connection.close()
                raise
    except (OSError, msgspec.MsgspecError) as error:
        raise Unavailable(
            "plugin_unavailable",
            "the egress proxy does not issue what the plugin needs",
            remedy="check that the egress process is running",
        ) from error
    if told.refusal is not None:
        connection.close()
        raise Misconfigured("key_unavailable", told.refusal.message, remedy=told.refusal.remedy)
    return Lease(connection, told)


async def _connected(path: Path) -> socket.socket:
    """Both processes start at the same time, so a socket that is not there yet is waited for."""
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.setblocking(False)
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            connection.close()
            await asyncio.sleep(LOOK_S)
        except BaseException:
            connection.close()
            raise
        else:
            return connection


async def _wait_end(connection: socket.socket) -> None:
    """Until the other side hangs up; nobody says anything more."""
    with contextlib.suppress(OSError):
        await asyncio.get_running_loop().sock_recv(connection, 1)


def _read(data: bytes) -> _Told:
    if not data:
        raise ConnectionResetError("the egress process hung up")
    return msgspec.json.decode(data, type=_Told)


def _tell(connection: socket.socket, told: _Told) -> bool:
    try:
        connection.send(msgspec.json.encode(told))
    except OSError:
        return False
    return True
