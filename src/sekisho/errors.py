"""Every error of Sekisho, on one page.

Each error carries a stable `code` (part of the public contract: clients, logs, metrics and `sekisho why` use it),
a sentence that says what happened, and a remedy that says what to do next. The families tell a caller how to act;
the table `CODES` tells the door which HTTP status and JSON-RPC code a stranger receives. Nothing here contains a
secret or a payload, because messages travel to clients and logs. What programs read beside the code stands in `facts`:
words of MCP, and what the client itself named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = [
    "CODES",
    "CodeInfo",
    "LocalProtocolError",
    "Misconfigured",
    "PluginError",
    "ProtocolError",
    "RateLimited",
    "Refused",
    "RemoteProtocolError",
    "ScopeMissing",
    "SekishoError",
    "Tampered",
    "Unavailable",
]


@dataclass(frozen=True, slots=True)
class CodeInfo:
    """What the door says for one code: HTTP status, JSON-RPC error code, and the default remedy."""

    http_status: int
    rpc_code: int
    remedy: str


# JSON-RPC 2.0 section 5.1 for -32700…-32603; -320xx values are MCP's (2026-07-28) or ours (-32050: refused by policy).
CODES: Final[dict[str, CodeInfo]] = {
    # what arrived cannot be read
    "body_too_large": CodeInfo(413, -32600, "send a smaller request, or raise security.max_request_size_mb"),
    "header_too_large": CodeInfo(431, -32600, "send fewer or shorter headers"),
    "http_malformed": CodeInfo(400, -32600, "send a well-formed HTTP/1.1 request"),
    "http_method_not_allowed": CodeInfo(405, -32600, "use POST (or DELETE to end a session)"),
    "http_not_found": CodeInfo(404, -32601, "use /mcp or /p/<plugin>/mcp"),
    "http_media_type": CodeInfo(415, -32600, "send Content-Type: application/json"),
    "http_not_acceptable": CodeInfo(406, -32600, "accept application/json and text/event-stream"),
    "http_timeout": CodeInfo(408, -32600, "send the whole request sooner"),
    "origin_refused": CodeInfo(403, -32600, "call from an allowed origin and host name"),
    "json_malformed": CodeInfo(400, -32700, "send one JSON-RPC 2.0 message as strict JSON in UTF-8"),
    "json_too_deep": CodeInfo(400, -32600, "nest the message less deeply"),
    "json_too_large": CodeInfo(400, -32600, "send fewer members or shorter strings"),
    "json_duplicate_key": CodeInfo(400, -32600, "name every member once"),
    "message_invalid": CodeInfo(400, -32600, "send one JSON-RPC 2.0 request, notification or response"),
    "batch_refused": CodeInfo(
        400, -32600, "send one message per request; only sessions of 2025-03-26 send small batches"
    ),
    "method_unknown": CodeInfo(404, -32601, "call a method that server/discover or initialize announces"),
    "params_invalid": CodeInfo(400, -32602, "send the parameters the method requires"),
    "header_mismatch": CodeInfo(400, -32020, "make the Mcp-* headers equal to the body"),
    "version_unsupported": CodeInfo(400, -32022, "use a supported protocol version"),
    "session_required": CodeInfo(400, -32600, "send initialize first, then the Mcp-Session-Id it returned"),
    "session_unknown": CodeInfo(404, -32600, "send initialize again to open a new session"),
    "stream_unknown": CodeInfo(
        400, -32600, "call again; a broken stream is kept for seconds, where it was served"
    ),
    # who asks, and what they may do
    "token_missing": CodeInfo(401, -32001, "send Authorization: Bearer with the token of this gateway"),
    "token_invalid": CodeInfo(401, -32001, "use the current token; the operator finds it in the token file"),
    "token_in_query": CodeInfo(
        400, -32600, "send the token in the Authorization header; a URL is kept in logs"
    ),
    "dpop_invalid": CodeInfo(
        401, -32001, "send one fresh DPoP proof for this request, made with the token's key"
    ),
    "dpop_nonce": CodeInfo(401, -32001, "put the nonce of the DPoP-Nonce header into the next proof"),
    "scope_missing": CodeInfo(403, -32050, "ask the authorization server for a token with the scopes named"),
    "issuer_unavailable": CodeInfo(
        503, -32055, "call again shortly; the operator checks that the issuer answers"
    ),
    "plugin_unknown": CodeInfo(404, -32602, "name a configured plugin"),
    "tool_unknown": CodeInfo(200, -32602, "call a tool that tools/list shows"),
    "prompt_unknown": CodeInfo(200, -32602, "get a prompt that prompts/list shows"),
    "resource_unknown": CodeInfo(200, -32602, "read a resource that resources/list or its templates show"),
    "resource_ambiguous": CodeInfo(
        200, -32602, "several plugins have it: use the endpoint of one, /p/<plugin>/mcp"
    ),
    "task_unknown": CodeInfo(
        200,
        -32602,
        "call the tool again: a task is known to the client that began it, until its time is over",
    ),
    "operation_not_allowed": CodeInfo(200, -32050, "ask the operator to add it to allowed_operations"),
    "plugin_quarantined": CodeInfo(
        200, -32050, "the operator reviews it: sekisho review NAME, sekisho approve NAME"
    ),
    "definition_changed": CodeInfo(200, -32050, "the operator looks at the difference: sekisho review NAME"),
    "rate_limited": CodeInfo(429, -32050, "call again after the time given in Retry-After"),
    "busy": CodeInfo(503, -32050, "too many calls are in flight; call again shortly"),
    "arguments_invalid": CodeInfo(200, -32602, "send arguments that fit the tool's input schema"),
    "arguments_too_large": CodeInfo(200, -32602, "send smaller arguments"),
    "capability_missing": CodeInfo(
        400, -32021, "use a client that can be asked this, or the operator adds it to client_requests"
    ),
    "content_refused": CodeInfo(
        200,
        -32050,
        "look the rule up in docs/concepts/content-scan.md; inspection.disabled_rules switches it off",
    ),
    "root_refused": CodeInfo(
        200, -32050, "name a place inside the plugin's roots; the operator states them in roots"
    ),
    "approval_refused": CodeInfo(200, -32050, "a person has to allow this operation in the configuration"),
    "token_not_accepted": CodeInfo(403, -32050, "renew the channel token"),
    # the plugin and its answer
    "plugin_unavailable": CodeInfo(
        200,
        -32051,
        "the plugin is not running; call again shortly, and if it stays so, the log of sekisho says why",
    ),
    "plugin_timeout": CodeInfo(
        200, -32052, "the plugin took too long and was stopped; it restarts by itself"
    ),
    "plugin_protocol": CodeInfo(200, -32053, "the plugin sent something that is not MCP; look at its log"),
    "plugin_error": CodeInfo(200, -32053, "the plugin says in its own words what is wrong"),
    "plugin_exited": CodeInfo(200, -32051, "the plugin stopped during the call; it restarts by itself"),
    "result_too_large": CodeInfo(200, -32053, "ask the plugin for less"),
    "result_invalid": CodeInfo(
        200, -32053, "the plugin's answer breaks its own output schema; tell its author"
    ),
    "login_needed": CodeInfo(200, -32051, "the operator logs in to the plugin's server: sekisho login NAME"),
    "authorization_failed": CodeInfo(
        200, -32054, "check the plugin's oauth table, and what its authorization server says of this client"
    ),
    "cancelled": CodeInfo(200, -32050, "the caller withdrew the request"),
    "gateway_unavailable": CodeInfo(
        503, -32051, "start it with sekisho up, or correct --url; then call again"
    ),
    # proofs that failed
    "peer_untrusted": CodeInfo(502, -32054, "check the certificate, its pin and its SPIFFE id"),
    "seal_broken": CodeInfo(
        502, -32054, "a sealed message was altered, replayed or reordered; the channel is reopened"
    ),
    "log_tampered": CodeInfo(500, -32054, "keep the log as evidence and restore it from a copy"),
    "lock_invalid": CodeInfo(
        500, -32054, "restore sekisho.lock from version control, or remove it and approve again"
    ),
    "package_tampered": CodeInfo(
        500, -32054, "keep the folder as evidence if it matters, then install again: sekisho install NAME"
    ),
    # what an operator must mend
    "log_unavailable": CodeInfo(503, -32055, "the audit log cannot be written: free space or mend the path"),
    "config_invalid": CodeInfo(500, -32055, "correct the configuration file"),
    "sandbox_unavailable": CodeInfo(500, -32055, "run sekisho doctor and install what it names"),
    "package_missing": CodeInfo(500, -32055, "install it: sekisho install NAME"),
    "package_refused": CodeInfo(500, -32050, "choose another package or version, or ask its author"),
    "package_unavailable": CodeInfo(
        503, -32055, "check that the registry can be reached from here, then install again"
    ),
    "key_unavailable": CodeInfo(500, -32055, "check the key folder and its permissions"),
    "no_room": CodeInfo(503, -32055, "free space there, then type it again"),
    "changes_refused": CodeInfo(409, -32050, "look at them: sekisho changes NAME"),
    "changes_unavailable": CodeInfo(503, -32055, "look at the folder that is named, then type it again"),
    "egress_refused": CodeInfo(403, -32050, "the operator adds the host to network_policy.allowed_domains"),
    "secret_refused": CodeInfo(
        403,
        -32050,
        "the operator adds the host or the place to the secret, if the plugin should send it there",
    ),
    "internal": CodeInfo(500, -32603, "look at the gateway's own log for this call id"),
}


class SekishoError(Exception):
    """The root of all errors; carries code, message, remedy, and facts that only the client's answer tells."""

    def __init__(
        self, code: str, message: str, *, remedy: str | None = None, facts: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.info = CODES[code]
        self.code = code
        self.message = message
        self.remedy = self.info.remedy if remedy is None else remedy
        self.facts = {} if facts is None else facts

    def __str__(self) -> str:
        return f"{self.message} ({self.code}; {self.remedy})"


class Refused(SekishoError):
    """A rule said no; asking again changes nothing until the rule or the request does."""


class RateLimited(Refused):
    """The rate is used up; the next call fits after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("rate_limited", "the calls of this minute are used up")
        self.retry_after_s = retry_after_s


class ScopeMissing(Refused):
    """The token lacks scopes; `scopes` are all that the operation needs, not only the missing ones."""

    def __init__(self, scopes: tuple[str, ...]) -> None:
        super().__init__("scope_missing", "the token was not issued for this operation")
        self.scopes = scopes


class Tampered(SekishoError):
    """A proof failed: a signature, seal, pin or log does not verify."""


class Unavailable(SekishoError):
    """Something needed is not there now; trying later may work."""


class Misconfigured(SekishoError):
    """An operator must act before this can work."""


class ProtocolError(SekishoError):
    """A message does not follow its protocol."""


class LocalProtocolError(ProtocolError):
    """We were about to break a protocol: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """The other side broke a protocol."""


class PluginError(SekishoError):
    """A plugin answered with an error of its own. `body`, its JSON-RPC error object, is data and in no message."""

    def __init__(self, body: bytes) -> None:
        super().__init__("plugin_error", "the plugin answered with an error")
        self.body = body
