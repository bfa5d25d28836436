"""The heads of requests to a plugin at a URL: a small fixed set of headers, and what the message itself says.

Guarantees
- nothing in a head comes from a client but what its message says: no header of a client is ever an argument here;
- a message of a modern revision is accompanied by headers that repeat its own version, method, name and annotated
  arguments, so they cannot contradict it;
- later messages of a legacy session carry its id and its version;
- trace context in the `_meta` of a message is repeated where the operator wants it, if it is valid (`trace_lines`).

What is the same for all messages is written once; so are the headers of each method and name. Judgement only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from sekisho.errors import SekishoError
from sekisho.plugin_server.authoriser import Authoriser
from sekisho.plugin_server.mirrored import Tool, read_message
from sekisho.plugin_server.site import Site
from sekisho.plugin_server.trace_lines import trace_lines
from sekisho.protocol import (
    MODERN,
    HeaderPlan,
    compile_headers,
    encode_header,
    header_lines,
    request_head_bytes,
)

__all__ = ["RequestHeads"]

MAX_MEMO: Final = 1024  # resources have countless names
_SESSION_ID: Final = re.compile(
    r"[\x21-\x7e]{1,16384}"
)  # what MCP allows; anything else could not be sent back
_LENGTH_LINE: Final = b"\r\nContent-Length: %d\r\n"
_NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "task_id",
    "tasks/update": "task_id",
    "tasks/cancel": "task_id",
}
_BOTH: Final = "application/json, text/event-stream"

_Lines = Sequence[tuple[str, str]]
_Key = TypeVar("_Key")


class RequestHeads:
    """Writes the heads of all requests to one site."""

    def __init__(self, site: Site, authoriser: Authoriser, trace: Sequence[str] = ()) -> None:
        """`trace`: what of a message's trace is repeated (`protocol.TRACE_NAMES`)."""
        self._site = site
        self._url = site.url
        self._authoriser = authoriser
        self._trace = tuple(trace)
        self._version: str | None = None
        self._is_legacy = False
        self._plans: dict[str, HeaderPlan] = {}
        self._usual: tuple[_Lines, bytes, bytes] | None = None  # credentials, before and behind the length
        self._memo: dict[tuple[str, str, str | None], bytes] = {}
        self._calls: dict[
            bytes, bytes
        ] = {}  # by what calls of one tool have in common; plans would add to it
        self.session: str | None = None

    @property
    def is_legacy(self) -> bool:
        """True once a revision with sessions was agreed on."""
        return self._is_legacy

    @property
    def version(self) -> str | None:
        """The revision agreed on."""
        return self._version

    def use_version(self, version: str) -> None:
        """Later messages are of this revision."""
        self._version = version
        self._is_legacy = version not in MODERN
        self._usual = None
        self._calls.clear()

    def use_tools(self, tools: Sequence[msgspec.Raw]) -> None:
        """Which arguments of these tools are repeated; a tool whose annotations are invalid is not called by anybody."""
        plans: dict[str, HeaderPlan] = {}
        for tool in tools:
            try:
                read = msgspec.json.decode(tool, type=Tool)
                plan = compile_headers(msgspec.json.decode(read.input_schema))
            except (msgspec.MsgspecError, SekishoError, UnicodeError, RecursionError):
                continue
            if plan:
                plans[read.name] = plan
        self._plans = plans
        self._calls.clear()

    def use_session(self, session: str | None) -> bool:
        """The id that the server gave, or none any more; True if it is another one."""
        if session == self.session or (session is not None and not _SESSION_ID.fullmatch(session)):
            return False
        self.session = session
        self._usual = None
        return True

    def post(self, message: bytes, words: bytes = b"") -> bytes:
        """The head of a POST with this message; `words` are what all calls of its tool have in common."""
        lines = self._authoriser.headers("POST", self._url)
        usual = self._usual
        if usual is None or usual[0] is not lines:
            whole = request_head_bytes(
                "POST",
                self._site.target,
                self._site.authority,
                (*lines, ("Content-Type", "application/json"), ("Accept", _BOTH), *self._session_lines()),
                1,
            )
            before, _, behind = whole.partition(_LENGTH_LINE % 1)
            usual = self._usual = (lines, before, behind)
        own = b"" if self._is_legacy else self._lines_of(message, words)
        if self._trace:
            own += trace_lines(message, self._trace)
        return usual[1] + _LENGTH_LINE % len(message) + own + usual[2]

    def get(self, last_event_id: str) -> bytes:
        """The head of a GET that opens a stream, where one broke off if there is an id."""
        lines = [("Accept", "text/event-stream"), *self._session_lines()]
        if last_event_id:
            lines.append(("Last-Event-ID", last_event_id))
        return self._bodiless("GET", lines)

    def delete(self) -> bytes:
        """The head of a DELETE that ends the session."""
        return self._bodiless("DELETE", self._session_lines())

    def _bodiless(self, method: str, lines: _Lines) -> bytes:
        credentials = self._authoriser.headers(method, self._url)
        return request_head_bytes(method, self._site.target, self._site.authority, (*credentials, *lines), 0)

    def _session_lines(self) -> _Lines:
        if not self._is_legacy:
            # before the handshake ends there is no version yet; a server may have given its id already
            return () if self.session is None or self._version else (("Mcp-Session-Id", self.session),)
        version = (("MCP-Protocol-Version", self._version or ""),)
        return version if self.session is None else (("Mcp-Session-Id", self.session), *version)

    def _lines_of(self, message: bytes, words: bytes) -> bytes:
        """The same as `_own_lines`, found out once for each tool: in one session all calls state one version."""
        if not words or self._plans:
            return self._own_lines(message)
        lines = self._calls.get(words)
        if lines is None:
            lines = self._own_lines(message)
            if lines:  # what could not be read of one call says nothing of the next
                _keep(self._calls, words, lines)
        return lines

    def _own_lines(self, message: bytes) -> bytes:
        """What a modern message says of itself; nothing for another."""
        try:
            read = read_message(message)
        except (msgspec.MsgspecError, UnicodeError):
            return b""  # an answer of ours
        params = read.params
        if params.meta.version is None:
            return b""
        member = _NAMED.get(read.method)
        name: str | None = None if member is None else getattr(params, member)
        key = (params.meta.version, read.method, name)
        lines = self._memo.get(key)
        if lines is None:
            lines = self._remember(key)
        plan = self._plans.get(name) if name is not None and read.method == "tools/call" else None
        if plan is None:
            return lines
        arguments = msgspec.json.decode(params.arguments or b"{}")
        return lines + header_lines(plan.headers(arguments if isinstance(arguments, dict) else {}))

    def _remember(self, key: tuple[str, str, str | None]) -> bytes:
        version, method, name = key
        lines = [("MCP-Protocol-Version", encode_header(version)), ("Mcp-Method", encode_header(method))]
        if name is not None:
            lines.append(("Mcp-Name", encode_header(name)))
        written = header_lines(lines)
        _keep(self._memo, key, written)
        return written


def _keep(memo: dict[_Key, bytes], key: _Key, lines: bytes) -> None:
    if len(memo) >= MAX_MEMO:
        memo.clear()
    memo[key] = lines
