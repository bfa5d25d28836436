"""Every method of the server, for both eras; knows nothing of stdio and HTTP.

Legacy-only, it does not know `server/discover`; modern-only, it refuses `initialize`. A modern answer carries its
`resultType`, its cache hints where those are due, and who answered.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from .content import (
    CAPABILITIES,
    IMAGE,
    INFO,
    INSTRUCTIONS,
    LEGACY,
    MODERN,
    PROMPTS,
    RESOURCES,
    TEMPLATES,
    TOOLS,
    WATCHED,
    Json,
)
from .exchange import META, AskRefused, Exchange, InputRequired, ModernExchange, Refusal, Send
from .hub import Hub, filtered, tagged
from .job_tools import text
from .jobs import EXTENSION, METHODS, knows_tasks, tasks_missing
from .legacy import LegacyExchange, Session
from .tools import call_tool, embedded, form

_CACHED = {"server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"}
_CACHED |= {"resources/read"}
_TEMPLATE = re.compile(r"test://template/([^/]+)/data")
_LISTS: Json = {
    "tools/list": {"tools": TOOLS},
    "prompts/list": {"prompts": PROMPTS},
    "resources/list": {"resources": RESOURCES},
    "resources/templates/list": {"resourceTemplates": TEMPLATES},
}


class Server:
    """What the server knows, whoever asks."""

    def __init__(self, era: str) -> None:
        self.speaks_legacy = era != "modern"
        self.speaks_modern = era != "legacy"
        self.hub = Hub()

    def is_modern(self, request: Json, revision: str | None = None) -> bool:
        """Which wire a request is on: by its envelope, else by the header's revision, else by what we speak."""
        if not self.speaks_legacy or not self.speaks_modern:
            return self.speaks_modern
        if revision is not None and revision not in LEGACY:
            return True
        meta = (request.get("params") or {}).get("_meta") or {}
        return META + "protocolVersion" in meta or request.get("method") == "server/discover"

    async def legacy(self, request: Json, session: Session, exchange: LegacyExchange) -> Json:
        """The response to one legacy request."""
        method, params = request["method"], request.get("params") or {}
        try:
            match method:
                case "initialize":
                    result = session.initialize(params)
                case "ping":
                    result = {}
                case "logging/setLevel":
                    result = session.set_level(params)
                case "resources/subscribe" | "resources/unsubscribe":
                    result = session.watch(params.get("uri"), yes=method == "resources/subscribe")
                case _:
                    result = await self._common(method, params, exchange, not_found=-32002)
        except Refusal as refusal:
            return failed(request["id"], refusal)
        except AskRefused as refused:
            return failed(request["id"], Refusal(-32603, f"the client would not answer: {refused}"))
        except Exception as error:  # one bad request must not end the server for all others
            return failed(request["id"], Refusal(-32603, repr(error)))
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    async def modern(self, request: Json, send: Send) -> Json:
        """The response to one modern request."""
        method, params = request["method"], request.get("params") or {}
        try:
            check_envelope(method, params)
            exchange = ModernExchange(send, params, f"{method} {params.get('name', '')}")
            if method == "server/discover":
                offered = {**CAPABILITIES, "extensions": {EXTENSION: {}}}
                result: Json = {"supportedVersions": self.revisions, "capabilities": offered}
                result["instructions"] = INSTRUCTIONS
            elif method in METHODS:
                result = await self.hub.jobs.serve(method, params, exchange.capabilities)
            elif method == "subscriptions/listen":
                if "taskIds" in (params.get("notifications") or {}) and not knows_tasks(
                    exchange.capabilities
                ):
                    raise tasks_missing()
                result = await self._listen(request["id"], params, send)
            else:
                result = await self._common(method, params, exchange, not_found=-32602)
        except InputRequired as required:
            result = required.result
        except Refusal as refusal:
            return failed(request["id"], refusal)
        except Exception as error:  # as above
            return failed(request["id"], Refusal(-32603, repr(error)))
        return {"jsonrpc": "2.0", "id": request["id"], "result": finished(method, result)}

    @property
    def revisions(self) -> list[str]:
        """The revisions `server/discover` names: those it can be spoken with in that way."""
        return list(MODERN)

    async def _listen(self, ident: Any, params: Json, send: Send) -> Json:
        """Runs until it is cancelled: a listener leaves by leaving."""
        honoured, wants = filtered(params.get("notifications") or {})
        acknowledged = {"notifications": honoured, **tagged(ident)}
        method = "notifications/subscriptions/acknowledged"
        with self.hub.hearing(send, wants, tagged(ident)):
            await send({"jsonrpc": "2.0", "method": method, "params": acknowledged})
            await asyncio.Event().wait()
        return {}

    async def _common(self, method: str, params: Json, exchange: Exchange, *, not_found: int) -> Json:
        match method:
            case "tools/call":
                arguments = params.get("arguments") or {}
                return await call_tool(str(params.get("name")), exchange, arguments, self.hub)
            case "prompts/get":
                return await _prompt(str(params.get("name")), exchange, params.get("arguments") or {})
            case "resources/read":
                return _resource(params.get("uri"), not_found)
            case "completion/complete":
                start = str((params.get("argument") or {}).get("value", ""))
                values = [word for word in ("paris", "park", "party", "test") if word.startswith(start)]
                return {"completion": {"values": values, "total": len(values), "hasMore": False}}
            case _ if method in _LISTS:
                return dict(_LISTS[method])
        raise Refusal(-32601, f"method not found: {method}")


def check_envelope(method: str, params: Json) -> None:
    """What every modern request carries, whatever its transport."""
    meta = params.get("_meta")
    if method == "initialize" and not meta:
        raise unsupported(params.get("protocolVersion"))
    if not isinstance(meta, dict):
        raise Refusal(-32602, "_meta is missing")
    for word in ("protocolVersion", "clientCapabilities"):
        if META + word not in meta:
            raise Refusal(-32602, f"_meta lacks {META}{word}")
    if meta[META + "protocolVersion"] not in MODERN:
        raise unsupported(meta[META + "protocolVersion"])


def unsupported(requested: Any) -> Refusal:
    """We do not speak that revision."""
    return Refusal(
        -32022, "unsupported protocol version", {"supported": list(MODERN), "requested": requested}
    )


def finished(method: str, result: Json) -> Json:
    """What a modern result carries beside its content."""
    if method in _CACHED:
        result = {"ttlMs": 0, "cacheScope": "private", **result}
    return {"resultType": "complete", **result, "_meta": {META + "serverInfo": INFO}}


def failed(ident: Any, refusal: Refusal) -> Json:
    """An error response."""
    return {"jsonrpc": "2.0", "id": ident, "error": refusal.error}


def _resource(uri: Any, not_found: int) -> Json:
    template = _TEMPLATE.fullmatch(str(uri))
    if uri == "test://static-text":
        words, mime = "This is the content of the static text resource.", "text/plain"
    elif uri == WATCHED:
        words, mime = "Watched resource content", "text/plain"
    elif template is not None:
        data = {"id": template[1], "templateTest": True, "data": f"Data for ID: {template[1]}"}
        words, mime = json.dumps(data), "application/json"
    elif uri == "test://static-binary":
        return {"contents": [{"uri": uri, "mimeType": "image/png", "blob": IMAGE}]}
    else:
        raise Refusal(not_found, "Resource not found", {"uri": uri})
    return {"contents": [{"uri": uri, "mimeType": mime, "text": words}]}


def _said(*contents: Json) -> Json:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


def _words(words: str) -> Json:
    return dict(text(words)["content"][0])


async def _prompt(name: str, exchange: Exchange, arguments: Json) -> Json:
    match name:
        case "test_simple_prompt":
            return _said(_words("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            given = f"arg1='{arguments.get('arg1')}', arg2='{arguments.get('arg2')}'"
            return _said(_words(f"Prompt with arguments: {given}"))
        case "test_prompt_with_embedded_resource":
            uri = str(arguments.get("resourceUri"))
            return _said(
                embedded(uri, "text/plain", "Embedded resource content for testing."),
                _words("Please process the embedded resource above."),
            )
        case "test_prompt_with_image":
            picture = {"type": "image", "data": IMAGE, "mimeType": "image/png"}
            return _said(picture, _words("Please analyze the image above."))
        case "test_input_required_result_prompt":
            question = form(
                "What context should the prompt use?", {"context": {"type": "string"}}, ["context"]
            )
            answer = (await exchange.ask({"user_context": question}))["user_context"]
            return _said(_words(f"Context: {answer.get('content', {}).get('context')}"))
    raise Refusal(-32602, f"unknown prompt {name!r}")
