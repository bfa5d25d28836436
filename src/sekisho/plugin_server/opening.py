"""Open a session with a plugin of unknown era: discover it, else shake hands.

Guarantees
- A plugin that answers `server/discover` with a revision of ours is modern; whatever else it does, an error of any
  code, a malformed answer or none, makes it legacy: the fallback never hangs on one code.
- Discovery takes at most half of the start timeout, so that a plugin which ignores what it does not know still starts.
- A plugin that ends or hangs on the question is asked the other way round at its next start; what was found is
  remembered for as long as the warden lives, and never trusted: a plugin that changed is asked again.
- Only one case is an error: a plugin that says it is modern and shares no revision with us.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, NoReturn

import msgspec

from sekisho.errors import RemoteProtocolError, SekishoError, Unavailable
from sekisho.plugin_server.era import APPS, CLIENT_INFO, capabilities
from sekisho.plugin_server.session import Answer, PluginSession, RpcError
from sekisho.protocol import LEGACY, META_SERVER_INFO, MODERN, notification_bytes
from sekisho.wire import SurfaceFrame

__all__ = ["EraMemory", "RefusedByPlugin", "ask", "handshake", "open_session", "told_of"]

MAX_PROBE_S: Final = 15.0  # Python servers need five seconds to start, and browsers longer
MAX_ERROR_NUMBER: Final = (1 << 31) - 1  # what JSON-RPC numbers are read as nearly everywhere
MAX_TOLD_CHARS: Final = 140  # of a plugin's own words, in a log and on a terminal
PROBE_SHARE: Final = 0.5  # of the start timeout; the rest is for the handshake
VERSION_UNSUPPORTED: Final = -32022  # MCP 2026-07-28; its data names what the server speaks
_GONE: Final = frozenset({"plugin_exited", "plugin_unavailable"})  # says nothing about the era


@dataclass(slots=True)
class EraMemory:
    """What is believed about one plugin between its lives."""

    is_legacy: bool = False

    def doubt(self) -> None:
        """The plugin ended while it was asked: begin with the other question next time."""
        self.is_legacy = not self.is_legacy


class _Discovered(msgspec.Struct, rename="camel"):
    supported_versions: list[str]
    capabilities: msgspec.Raw
    instructions: str | None = None
    meta: dict[str, msgspec.Raw] = msgspec.field(name="_meta", default_factory=dict)


class _Initialized(msgspec.Struct, rename="camel"):
    protocol_version: str
    capabilities: msgspec.Raw
    server_info: msgspec.Raw
    instructions: str | None = None


class _Unsupported(msgspec.Struct):
    supported: list[str]


class _UnsupportedError(msgspec.Struct):
    data: _Unsupported


class RefusedByPlugin(RemoteProtocolError):
    """The plugin answered a question of ours with an error of its own.

    Its number is in the message, which clients may read. `told` is for the operator, and has its words too: bounded,
    quoted, and without what could move or hide text in a terminal or log.
    """

    def __init__(self, method: str, error: RpcError) -> None:
        number = str(error.code) if abs(error.code) <= MAX_ERROR_NUMBER else "beyond every range"
        super().__init__("plugin_protocol", f"the plugin refused {method}: error {number}")
        self.error = error
        words = error.message[:MAX_TOLD_CHARS]
        plain = "".join(letter if letter.isprintable() and letter != '"' else "?" for letter in words)
        self.told = f'{self.message}, "{plain}"' if plain else self.message


def told_of(reason: SekishoError) -> str:
    """Why a plugin does not run, for the operator."""
    return reason.told if isinstance(reason, RefusedByPlugin) else reason.message


async def ask(
    session: PluginSession,
    method: str,
    params: dict[str, object] | None,
    timeout_s: float,
    *,
    modern: bool | None = None,
) -> bytes:
    """One request of ours and its result, bounded in time; raises `SekishoError`."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def heard(result: Answer) -> None:
        if answer.done():
            return
        if isinstance(result, bytes):
            answer.set_result(result)
        else:
            answer.set_exception(RefusedByPlugin(method, result) if isinstance(result, RpcError) else result)

    ident = session.request(method, params, heard, modern=modern)
    try:
        # not wait_for: before Python 3.12 it swallows a cancellation that comes together with the answer
        async with asyncio.timeout(timeout_s):
            return await answer
    except TimeoutError:
        if method in ("initialize", "server/discover"):
            session.forget(ident)  # MCP: neither may be cancelled
        else:
            session.cancel(ident, "no answer in time")
        raise Unavailable(
            "plugin_timeout", f"the plugin did not answer {method} in {timeout_s:g} s"
        ) from None


async def open_session(session: PluginSession, memory: EraMemory, timeout_s: float) -> SurfaceFrame:
    """Find out the era and open the session; the surface returned has no lists yet."""
    is_open = False
    try:
        surface = await (_legacy_first if memory.is_legacy else _modern_first)(session, timeout_s)
        is_open = True
    finally:  # also when this is cancelled, because the plugin ended
        if is_open:
            memory.is_legacy = not session.modern
        else:
            memory.doubt()
    return surface


async def handshake(session: PluginSession, timeout_s: float) -> SurfaceFrame:
    """Open a legacy session, newest revision first."""
    params: dict[str, object] = {
        "protocolVersion": LEGACY[0],
        "capabilities": _declared(session),
        "clientInfo": CLIENT_INFO,
    }
    answer = _read_initialized(await ask(session, "initialize", params, timeout_s, modern=False))
    session.agree(answer.protocol_version)
    session.send(notification_bytes("notifications/initialized", None))
    return _opened(answer.server_info, answer.capabilities, answer.instructions)


async def _modern_first(session: PluginSession, timeout_s: float) -> SurfaceFrame:
    surface = await _discover(session, timeout_s)
    if surface is not None:
        return surface
    try:
        return await handshake(session, timeout_s)
    except RefusedByPlugin as refusal:
        if refusal.error.code != VERSION_UNSUPPORTED:
            raise
        # it says only now that it is modern: it was merely slow to start, and is asked once more
        return await _discover(session, timeout_s) or _disjoint(refusal)


async def _legacy_first(session: PluginSession, timeout_s: float) -> SurfaceFrame:
    try:
        return await handshake(session, timeout_s)
    except RefusedByPlugin as refusal:
        return await _discover(session, timeout_s) or _disjoint(refusal)


async def _discover(session: PluginSession, timeout_s: float) -> SurfaceFrame | None:
    """None if this is no modern plugin; raises if it is gone, or modern and shares no revision with us."""
    limit_s = min(MAX_PROBE_S, PROBE_SHARE * timeout_s)
    try:
        result = await _probe(session, limit_s)
    except RefusedByPlugin as refusal:
        _refuse_disjoint(refusal)
        return None
    except SekishoError as error:
        if error.code in _GONE:
            raise
        return None
    try:
        answer = msgspec.json.decode(result, type=_Discovered)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    if MODERN[0] not in answer.supported_versions or not _is_object(answer.capabilities):
        return None
    session.agree(MODERN[0])
    server_info = answer.meta.get(META_SERVER_INFO, msgspec.Raw(b"{}"))
    return _opened(
        server_info if _is_object(server_info) else msgspec.Raw(b"{}"),
        answer.capabilities,
        answer.instructions,
    )


async def _probe(session: PluginSession, limit_s: float) -> bytes:
    """`server/discover`; once more if it was refused for its revision, and that very revision was named as supported."""
    try:
        return await ask(session, "server/discover", {}, limit_s, modern=True)
    except RefusedByPlugin as refusal:
        if MODERN[0] not in _supported(refusal):
            raise
    return await ask(session, "server/discover", {}, limit_s, modern=True)


def _refuse_disjoint(refusal: RefusedByPlugin) -> None:
    supported = _supported(refusal)
    if supported and not any(version in LEGACY for version in supported):
        _disjoint(refusal)


def _supported(refusal: RefusedByPlugin) -> list[str]:
    """The revisions a plugin names when it refuses ours; none if it refused for another reason."""
    if refusal.error.code != VERSION_UNSUPPORTED:
        return []
    try:
        return msgspec.json.decode(refusal.error.raw, type=_UnsupportedError).data.supported
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []


def _disjoint(refusal: RefusedByPlugin) -> NoReturn:
    raise RemoteProtocolError(
        "plugin_protocol", "the plugin speaks no supported protocol version"
    ) from refusal


def _declared(session: PluginSession) -> dict[str, object]:
    declared = capabilities((*session.may_ask, APPS), has_roots=bool(session.roots))
    if "roots" in declared:
        declared["roots"] = {"listChanged": False}
    return declared


def _read_initialized(result: bytes) -> _Initialized:
    try:
        answer = msgspec.json.decode(result, type=_Initialized)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise RemoteProtocolError("plugin_protocol", "the plugin's initialize answer is malformed") from error
    if not (_is_object(answer.capabilities) and _is_object(answer.server_info)):
        raise RemoteProtocolError("plugin_protocol", "the plugin's initialize answer is malformed")
    if answer.protocol_version not in LEGACY:
        raise RemoteProtocolError("plugin_protocol", "the plugin speaks no supported protocol version")
    return answer


def _opened(server_info: msgspec.Raw, offered: msgspec.Raw, instructions: str | None) -> SurfaceFrame:
    return SurfaceFrame(
        server_info=server_info,
        capabilities=offered,
        instructions=instructions,
        tools=[],
        prompts=[],
        resources=[],
        templates=[],
    )


def _is_object(raw: msgspec.Raw) -> bool:
    return bytes(raw)[:1] == b"{"
