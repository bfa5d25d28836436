"""One legacy session: the handshake's outcome, what was subscribed, and the questions that wait for an answer."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from .content import CAPABILITIES, INFO, INSTRUCTIONS, LEGACY, Json
from .exchange import NEEDED, AskRefused, Exchange, Refusal, Send

PATIENCE_S = 60.0  # an abandoned question must not keep a call for ever


class Session:
    """What lives between initialize and the end of a legacy session."""

    def __init__(self, ident: str = "") -> None:
        self.ident = ident
        self.is_open = False
        self.capabilities: Json = {}
        self.revision = LEGACY[0]
        self.level: str | None = "debug"
        self.watched: set[str] = set()
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._numbers = itertools.count(1)

    def initialize(self, params: Json) -> Json:
        """The handshake."""
        asked = params.get("protocolVersion")
        self.revision = asked if asked in LEGACY else LEGACY[0]
        self.capabilities = params.get("capabilities") or {}
        self.is_open = True
        return {
            "protocolVersion": self.revision,
            "capabilities": CAPABILITIES,
            "serverInfo": INFO,
            "instructions": INSTRUCTIONS,
        }

    async def request(self, send: Send, method: str, params: Json) -> Json:
        """Ask the client and wait for its answer."""
        ident = f"ask-{next(self._numbers)}"
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[ident] = answer
        try:
            await send({"jsonrpc": "2.0", "id": ident, "method": method, "params": params})
            response = await asyncio.wait_for(answer, PATIENCE_S)
        except TimeoutError:
            raise AskRefused("no answer in time") from None
        finally:
            del self._waiting[ident]
        if "error" in response:
            raise AskRefused(str(response["error"].get("message")))
        return dict(response["result"])

    def answered(self, response: Json) -> None:
        """A response of the client; one that nobody waits for is dropped."""
        waiting = self._waiting.get(str(response.get("id")))
        if waiting is not None and not waiting.done():
            waiting.set_result(response)

    def set_level(self, params: Json) -> Json:
        """logging/setLevel."""
        self.level = params.get("level", "debug")
        return {}

    def watch(self, uri: Any, *, yes: bool) -> Json:
        """resources/subscribe and its opposite."""
        if not isinstance(uri, str):
            raise Refusal(-32602, "a uri is wanted")
        (self.watched.add if yes else self.watched.discard)(uri)
        return {}


class LegacyExchange(Exchange):
    """A call of a legacy session."""

    def __init__(self, send: Send, params: Json, session: Session) -> None:
        super().__init__(send, params.get("_meta") or {})
        self._session = session
        self.capabilities = session.capabilities

    @property
    def level(self) -> str | None:  # type: ignore[override]  # the session's, which may change meanwhile
        """The level the session set."""
        return self._session.level

    async def ask(self, questions: dict[str, Json], *, seal: bool = False) -> dict[str, Json]:
        """One request after the other."""
        answers = {}
        for key, question in questions.items():
            if NEEDED[question["method"]] not in self.capabilities:
                raise AskRefused(f"the client did not declare {NEEDED[question['method']]}")
            answers[key] = await self._session.request(
                self._send, question["method"], question.get("params", {})
            )
        return answers
