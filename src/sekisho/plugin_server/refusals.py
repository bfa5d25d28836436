"""What a server's refusal means: the JSON-RPC error in its body, or else its HTTP status.

Judgement: bytes in, values out.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sekisho.errors import RemoteProtocolError, SekishoError, Unavailable

__all__ = ["error_answer", "status_error"]


class _ErrorObject(msgspec.Struct):
    code: int
    message: str


class _ErrorBody(msgspec.Struct):
    jsonrpc: Literal["2.0"]
    error: msgspec.Raw


def error_answer(wanted: int | str, status: int, body: bytes, *, of_our_gate: bool = False) -> bytes | None:
    """The JSON-RPC error in the body of a refusal, as the answer to the request; servers often leave its id out.

    A gate of ours says in every refusal what it means. Of others, one that may pass (429, 5xx) is what a proxy between
    may have said.
    """
    if not of_our_gate and (not 400 <= status < 500 or status == 429):
        return None
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
        msgspec.json.decode(error, type=_ErrorObject)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (msgspec.json.encode(wanted), bytes(error))


def status_error(status: int) -> SekishoError:
    """What an HTTP status without an answer means."""
    if status in (401, 403):
        return Unavailable(
            "plugin_unavailable",
            f"the MCP server does not accept the credentials of this plugin (HTTP {status})",
            remedy="the operator gives it others: upstream_headers or oauth",
        )
    what = f"the MCP server answered HTTP {status}"
    if status == 429 or status >= 500:
        return Unavailable("plugin_unavailable", what, remedy="call again later")
    return RemoteProtocolError("plugin_protocol", what)
