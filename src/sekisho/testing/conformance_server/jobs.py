"""Tasks (SEP-2663): calls that are answered with a handle, run on, and are asked for again under it.

A tool that may run so is the same function as ever: it asks through a job as it would through an exchange.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from .content import Json
from .exchange import META, Refusal

EXTENSION = META + "tasks"
TTL_MS = 300_000
POLL_MS = 100
METHODS = ("tasks/get", "tasks/update", "tasks/cancel")

Spawn = Callable[[Coroutine[Any, Any, None]], object]


def knows_tasks(capabilities: Json) -> bool:
    """Whether a client declared the extension in this very request."""
    return EXTENSION in (capabilities.get("extensions") or {})


def tasks_missing() -> Refusal:
    """It did not, and had to."""
    needed: Json = {"extensions": {EXTENSION: {}}}
    return Refusal(-32021, "this needs a client that knows tasks", {"requiredCapabilities": needed})


class Job:
    """One task: its state, and what it waits for."""

    def __init__(self, told: Callable[[Job], Awaitable[None]]) -> None:
        self.ident = secrets.token_urlsafe(16)
        self.status = "working"
        self.work: asyncio.Task[Any] | None = None
        self._told = told
        self._created = self._updated = _now()
        self._outcome: Json = {}
        self._open: dict[str, Json] = {}
        self._answers: dict[str, Json] = {}
        self._answered = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """True once its status no longer changes."""
        return self.status in ("completed", "failed", "cancelled")

    def state(self, *, is_new: bool = False) -> Json:
        """What is said of it."""
        said: Json = {"taskId": self.ident, "status": self.status, "createdAt": self._created}
        said |= {"lastUpdatedAt": self._updated, "ttlMs": TTL_MS, "pollIntervalMs": POLL_MS}
        if is_new:
            return {"resultType": "task", **said}
        if self.status == "input_required":
            said["inputRequests"] = dict(self._open)
        return said | self._outcome

    async def ask(self, questions: dict[str, Json], *, seal: bool = False) -> dict[str, Json]:
        """Put the questions to whoever asks for the task; returns the answers under the same keys."""
        del seal
        self._open = dict(questions)
        await self.change("input_required")
        while self._open:
            self._answered.clear()
            await self._answered.wait()
        await self.change("working")
        return {key: self._answers[key] for key in questions}

    def answer(self, answers: Json) -> None:
        """Take answers to open questions; others are ignored."""
        for key in [key for key in answers if key in self._open]:
            del self._open[key]
            self._answers[key] = answers[key]
        self._answered.set()

    async def change(self, status: str, outcome: Json | None = None) -> None:
        """Enter another state, once for good."""
        if self.is_over:
            return
        self.status, self._updated, self._outcome = status, _now(), outcome or {}
        await self._told(self)


class Jobs:
    """All tasks of the server. `spawn` is set by whoever owns the loop."""

    def __init__(self, told: Callable[[str, Json], Awaitable[None]]) -> None:
        self.spawn: Spawn | None = None
        self._told = told
        self._jobs: dict[str, Job] = {}

    def begin(self, run: Callable[[Job], Awaitable[Json]]) -> Json:
        """Start a task; what its creation is answered with."""
        assert self.spawn is not None
        job = Job(self._tell)
        self._jobs[job.ident] = job
        self.spawn(self._carry_out(job, run))
        return job.state(is_new=True)

    async def serve(self, method: str, params: Json, capabilities: Json) -> Json:
        """The answer to one of `METHODS`."""
        if not knows_tasks(capabilities):
            raise tasks_missing()
        job = self._jobs.get(str(params.get("taskId")))
        if job is None:
            raise Refusal(-32602, "there is no such task")
        if method == "tasks/get":
            return job.state()
        if method == "tasks/update":
            job.answer(params.get("inputResponses") or {})
        else:
            await job.change("cancelled")
            if job.work is not None:
                job.work.cancel()
        return {}

    def close(self) -> None:
        """Whatever still runs is dropped."""
        for job in self._jobs.values():
            if job.work is not None:
                job.work.cancel()

    async def _carry_out(self, job: Job, run: Callable[[Job], Awaitable[Json]]) -> None:
        job.work = asyncio.current_task()
        if job.is_over:
            return
        try:
            await job.change("completed", {"result": await run(job)})
        except Refusal as refusal:
            await job.change("failed", {"error": refusal.error, "statusMessage": str(refusal)})
        except asyncio.CancelledError:
            await job.change("cancelled")

    async def _tell(self, job: Job) -> None:
        await self._told(job.ident, job.state())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
