"""How one call talks with its client while it runs, in either era.

A tool asks by `ask`. On the legacy wire that is one request after the other to the client, answered while the call
waits. On the modern wire the call ends with `InputRequired`, and is run anew when the client repeats it with
answers; what was answered in earlier rounds travels in a sealed state that nobody else can write.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from .content import Json

Send = Callable[[Json], Awaitable[None]]

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
META = "io.modelcontextprotocol/"
NEEDED = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
_KEY = secrets.token_bytes(32)


class Refusal(Exception):
    """Answered as a JSON-RPC error."""

    def __init__(self, code: int, text: str, data: Json | None = None) -> None:
        super().__init__(text)
        self.error: Json = {"code": code, "message": text} | ({"data": data} if data is not None else {})


class InputRequired(Exception):
    """Answered as an InputRequiredResult."""

    def __init__(self, result: Json) -> None:
        super().__init__("input required")
        self.result = result


class AskRefused(Exception):
    """The client answered a question with an error."""


def missing(capability: str) -> Refusal:
    """The client did not declare what the call needs (SEP-2575)."""
    return Refusal(
        -32021, f"this needs a client with {capability}", {"requiredCapabilities": {capability: {}}}
    )


class Exchange(ABC):
    """What a call can do beside answering."""

    level: str | None
    capabilities: Json

    def __init__(self, send: Send, meta: Json) -> None:
        self._send = send
        self._token = meta.get("progressToken")

    @abstractmethod
    async def ask(self, questions: dict[str, Json], *, seal: bool = False) -> dict[str, Json]:
        """Put the questions to the client; returns the answers under the same keys."""

    async def hang_up(self) -> None:  # noqa: B027  # only HTTP has something to let go of
        """Let go of the stream; a client that comes back gets the rest. Nothing to let go of unless over HTTP."""

    async def notify(self, method: str, params: Json) -> None:
        """One notification, on the way of this call."""
        await self._send({"jsonrpc": "2.0", "method": method, "params": params})

    async def log(self, level: str, text: str) -> None:
        """One log message, if the client wants that level."""
        if self.level is not None and LEVELS.index(level) >= LEVELS.index(self.level):
            await self.notify(
                "notifications/message", {"level": level, "logger": "conformance", "data": text}
            )

    async def progress(self, done: int, total: int) -> None:
        """One report of progress, if the client asked for them."""
        if self._token is not None:
            told = {"progressToken": self._token, "progress": done, "total": total}
            await self.notify("notifications/progress", {**told, "message": f"step {done} of {total}"})


class ModernExchange(Exchange):
    """One round of a call on the modern wire."""

    def __init__(self, send: Send, params: Json, subject: str) -> None:
        meta = params["_meta"]
        super().__init__(send, meta)
        self.level = meta.get(META + "logLevel")
        self.capabilities = meta[META + "clientCapabilities"]
        self._subject = subject
        self._answers = _opened(params.get("requestState"), subject) | _judged(params)

    async def ask(self, questions: dict[str, Json], *, seal: bool = False) -> dict[str, Json]:
        """The answers, or the end of this round."""
        for question in questions.values():
            if NEEDED[question["method"]] not in self.capabilities:
                raise missing(NEEDED[question["method"]])
        open_ = {key: question for key, question in questions.items() if key not in self._answers}
        if not open_:
            return {key: self._answers[key] for key in questions}
        result: Json = {"resultType": "input_required", "inputRequests": open_}
        if seal or self._answers:
            result["requestState"] = _sealed(self._answers, self._subject)
        raise InputRequired(result)


def _judged(params: Json) -> Json:
    answers = params.get("inputResponses", {})
    if not isinstance(answers, dict) or not all(isinstance(answer, dict) for answer in answers.values()):
        raise Refusal(-32602, "inputResponses is an object of objects")
    return answers


def _sealed(answers: Json, subject: str) -> str:
    body = json.dumps([subject, answers], sort_keys=True).encode()
    return base64.urlsafe_b64encode(_proof(body) + body).decode()


def _opened(state: Any, subject: str) -> Json:
    if state is None:
        return {}
    try:
        raw = base64.b64decode(str(state), altchars=b"-_", validate=True)
    except ValueError:
        raise Refusal(-32602, "this requestState is not ours") from None
    proof, body = raw[:32], raw[32:]
    if not hmac.compare_digest(proof, _proof(body)):
        raise Refusal(-32602, "this requestState is not ours")
    its, answers = json.loads(body)
    if its != subject:
        raise Refusal(-32602, "this requestState belongs to another request")
    return dict(answers)


def _proof(body: bytes) -> bytes:
    return hmac.new(_KEY, body, hashlib.sha256).digest()
