"""A small house in memory: a real gate, door and road, with a clock, a log and a line that are turned by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.other_workers import OtherWorkers

from sekisho.detect import Inspection
from sekisho.errors import SekishoError, Unavailable
from sekisho.gateway import (
    Answered,
    Arrived,
    BerthLimits,
    Call,
    Decision,
    Door,
    DoorRules,
    Freight,
    FreightLimits,
    House,
    Inspected,
    LocalBerths,
    Refusal,
    Road,
    Sealed,
    Sessions,
    Standing,
    judge,
    loopback_names,
)
from sekisho.gateway.remarks import Question
from sekisho.gateway.shared_memory import MAX_WORKERS, SharedMemory
from sekisho.gateway.stages import Held
from sekisho.keys import Credentials, Pending, Principal, TokenBook, token_hash
from sekisho.policy import METHODS, AccessPolicy, RateLimiter, RateRule, Rule
from sekisho.protocol import HttpRequest, JsonLimits, PluginName
from sekisho.registry import Definitions, Listing, lock_entry, surface_of
from sekisho.telemetry import Metrics
from sekisho.wire import AnswerFrame, AskFrame, CallFrame, EventFrame

NOW = 1_800_000_000.0
CALC = PluginName("calc")
OTHER = PluginName("other")
AYA = "sk-" + "a" * 43
BEN = "sk-" + "b" * 43
MODERN = "2026-07-28"
SCANNER = Inspection().scanner  # compiled once for all tests
ADD: dict[str, Any] = {
    "name": "add",
    "inputSchema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    },
    "outputSchema": {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]},
    "annotations": {"readOnlyHint": True},
}
ERASE: dict[str, Any] = {"name": "erase", "inputSchema": {"type": "object"}}
BROKEN: dict[str, Any] = {"name": "broken", "inputSchema": {"$ref": "http://127.0.0.1:9/"}}
SUM = b'{"content":[],"structuredContent":{"sum":3}}'


def rule(client: str, plugin: PluginName, *operations: str) -> Rule:
    """These tools, and every prompt and resource that is approved."""
    return Rule(
        client=client,
        plugin=plugin,
        operations=frozenset(operations),
        methods=METHODS,
        prompts=None,
        resources=None,
    )


def definitions(
    plugin: PluginName = CALC, tools: Iterable[dict[str, Any]] = (ADD, ERASE, BROKEN)
) -> Definitions:
    seen = surface_of(Listing(tools=tuple(json.dumps(tool).encode() for tool in tools)))
    entry = lock_entry(
        name=plugin, argv=(), grants="", surface=seen, approved_by="aya", approved_at="2026-11-21"
    )
    return Definitions.build(entry, seen, [tool["name"] for tool in tools])


class HandClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> float:
        return self.at

    def soon(self, callback: Callable[[], None]) -> None:
        callback()

    def advance(self, seconds: float) -> None:
        self.at += seconds


class MemoryLog:
    """Keeps the journal's promise: `done` is heard after `append` returned, exactly once, in order."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.effects: list[bool] = []
        self.problem: SekishoError | None = None
        self._queue: list[tuple[bytes, bool, Callable[[SekishoError | None], None]]] = []

    def append(self, entry: bytes, *, effect: bool, done: Callable[[SekishoError | None], None]) -> None:
        self._queue.append((entry, effect, done))

    def settle(self) -> None:
        """Write everything that is queued, and what that causes."""
        while self._queue:
            entry, effect, done = self._queue.pop(0)
            if self.problem is None:
                self.entries.append(json.loads(entry))
                self.effects.append(effect)
            done(self.problem)

    def fill_up(self) -> None:
        self.problem = Unavailable("log_unavailable", "no space left")

    @property
    def kinds(self) -> list[object]:
        return [entry["kind"] for entry in self.entries]


class HandLine:
    """A line whose far end answers when the test says so, and drops what was withdrawn."""

    def __init__(self) -> None:
        self.frames: list[CallFrame] = []
        self.cancelled: list[int] = []
        self.waiting: dict[int, Callable[[bytes | SekishoError], None]] = {}
        self.notes: dict[int, Callable[[bytes], None]] = {}
        self.hears: dict[int, Callable[[EventFrame | AskFrame], None]] = {}
        self.answers: list[AnswerFrame] = []
        self.expected = 0

    def expect(self) -> None:
        self.expected += 1

    def call(
        self,
        frame: CallFrame,
        done: Callable[[bytes | SekishoError], None],
        note: Callable[[bytes], None] | None = None,
        hear: Callable[[EventFrame | AskFrame], None] | None = None,
    ) -> int:
        self.frames.append(frame)
        number = len(self.frames)
        self.waiting[number] = done
        if note is not None:
            self.notes[number] = note
        if hear is not None:
            self.hears[number] = hear
        return number

    def answer(self, frame: AnswerFrame) -> None:
        self.answers.append(frame)

    def cancel(self, call_id: int) -> None:
        self.cancelled.append(call_id)
        self.waiting.pop(call_id, None)

    def reply(self, answer: bytes | SekishoError = SUM, number: int | None = None) -> None:
        """Answer the oldest waiting call, or the one with this number."""
        self.waiting.pop(min(self.waiting) if number is None else number)(answer)


class Listener:
    """Keeps what comes before the answer of a call."""

    def __init__(self) -> None:
        self.progress: list[bytes] = []
        self.notices: list[tuple[str, bytes]] = []
        self.questions: list[Question] = []
        self.can_be_asked = True

    def note(self, progress: bytes) -> None:
        self.progress += progress.split(b"\n")

    def note_last(self, progress: bytes) -> None:
        self.note(progress)

    def notice(self, method: str, params: bytes) -> None:
        self.notices.append((method, params))

    def question(self, plugin: PluginName, question: Question) -> bool:
        self.questions.append(question)
        return self.can_be_asked


class Approver:
    """Says what it was told to say, and remembers who asked."""

    def __init__(self) -> None:
        self.says: Decision = "yes"
        self.asked: list[str] = []

    def decide(self, inspected: Inspected) -> Decision:
        self.asked.append(inspected.permitted.identified.arrived.call.tool)
        return self.says


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP response, taken apart."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str:
        """The stable code of a refusal, or "ok"."""
        return str(self.body["error"]["data"]["code"]) if self.body and "error" in self.body else "ok"

    @classmethod
    def read(cls, data: bytes) -> Reply:
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        return cls(
            status=int(status.split()[1]),
            headers={name.lower(): value for name, _, value in pairs},
            body=json.loads(body) if body else None,
        )


class Ear:
    """A connection that keeps what it was given."""

    def __init__(
        self,
        hear: Callable[[bytes], object] = lambda data: None,
        *,
        is_welcome: bool = True,
        keeps_up: bool = True,
    ) -> None:
        self.client: str | None = None
        self.certificate: str | None = None
        self.shown: Principal | Pending | None = None
        self.pieces: list[bytes] = []
        self.heard: list[bytes] = []
        self._hear = hear
        self._is_welcome = is_welcome
        self.keeps_up = keeps_up

    def admit(self, client: str) -> bool:
        if self._is_welcome:
            self.client = client
        return self._is_welcome

    def begin(self, data: bytes) -> bool:
        if self.keeps_up:
            self.pieces.append(data)
        return self.keeps_up

    def answer(self, data: bytes) -> None:
        self.heard.append(data)
        self._hear(data)

    def answer_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self.answer(b"".join(parts))


class Kit:
    """Everything of the gateway room, joined; `house` may be replaced by a test."""

    now = NOW
    calc = CALC
    other = OTHER
    aya = AYA
    ben = BEN
    modern = MODERN
    add = ADD
    erase = ERASE
    broken = BROKEN
    sum = SUM
    reply = Reply
    ear = Ear
    listener = Listener

    def __init__(self) -> None:
        self.clock = HandClock()
        self.log = MemoryLog()
        self.line = HandLine()
        self.approver = Approver()
        self.metrics = Metrics()
        self.sessions = Sessions(bytes(32))
        self.rules = DoorRules(
            hosts=loopback_names(),
            origins=frozenset({"https://desk.example"}),
            message_limits=JsonLimits(max_bytes=4096),
        )
        rules = [
            rule("aya", CALC, "add", "erase", "broken"),
            rule("aya", OTHER, "erase"),
            Rule(client="ben", plugin=CALC, operations=frozenset({"add"})),
        ]
        self.house = House(
            credentials=Credentials(
                TokenBook({token_hash(AYA): "aya", token_hash(BEN): "ben"}), clock=self.clock.now
            ),
            access=AccessPolicy(rules),
            limiter=RateLimiter(),
            client_rate=RateRule(per_minute=60),
            session_rate=RateRule(per_minute=60),
            standings={CALC: self.standing(), OTHER: self.standing(definitions(OTHER, [ERASE]))},
            approvals=self.approver,
            max_argument_bytes=512,
            result_limits=JsonLimits(max_bytes=512),
            inspection=Inspection(results="refuse", scanner=SCANNER),
        )
        self.road = self.new_road()
        self.door = self.new_door()
        self._ids = iter(range(1, 1_000_000))

    def new_road(self, max_in_flight: int = 8, freight: FreightLimits | None = None) -> Road:
        return Road(
            house=lambda: self.house,
            lines={CALC: self.line},
            journal=self.log,
            metrics=self.metrics,
            clock=self.clock,
            berths=LocalBerths(BerthLimits(total=max_in_flight, of_client=256, of_plugin=512)),
            freight=Freight(freight or FreightLimits()),
            salt_of=str.encode,
        )

    def new_door(self, **shared: Any) -> Door:
        return Door(
            rules=lambda: self.rules,
            house=lambda: self.house,
            road=self.road,
            sessions=self.sessions,
            clock=self.clock,
            new_id=lambda: f"call{next(self._ids)}",
            round_key=bytes(32),
            **shared,
        )

    @staticmethod
    def definitions(plugin: PluginName, *tools: dict[str, Any]) -> Definitions:
        return definitions(plugin, tools)

    @staticmethod
    def standing(
        given: Definitions | None = None,
        *,
        problem: SekishoError | None = None,
        rate: RateRule | None = None,
    ) -> Standing:
        return Standing(
            definitions=None if problem else given or definitions(),
            rate=rate or RateRule(per_minute=60),
            timeout_s=30.0,
            problem=problem,
        )

    def change(self, **fields: Any) -> None:
        """Replace parts of the house."""
        self.house = replace(self.house, **fields)

    @staticmethod
    def arrived(
        *,
        tool: str = "add",
        arguments: bytes = b'{"a":1}',
        token: str | None = AYA,
        plugin: PluginName = CALC,
        now: float = NOW,
    ) -> Arrived:
        call = Call.of("c1", plugin, tool, json.loads(arguments))
        names = {AYA: "aya", BEN: "ben"}
        return Arrived(call, Principal(client=names[token]) if token in names else None, now)

    @property
    def uncharged(self) -> bool:
        """True while no call was charged to anybody."""
        assert isinstance(self.house.limiter, RateLimiter)
        return len(self.house.limiter) == 0

    def sealed(self, **fields: Any) -> Sealed:
        verdict = judge(self.arrived(**fields), self.house)
        assert isinstance(verdict, Sealed)
        return verdict

    @staticmethod
    def code(outcome: Sealed | Answered | Held | Refusal) -> str:
        """How a judgement ended, in one word."""
        return outcome.error.code if isinstance(outcome, Refusal) else "ok"

    @staticmethod
    def request(
        body: object = None,
        *,
        method: str = "POST",
        target: str = "/mcp",
        token: str | None = AYA,
        headers: Mapping[str, str] | None = None,
        session: str | None = None,
    ) -> HttpRequest:
        given = {"host": "127.0.0.1:8080", "content-type": "application/json"}
        if token is not None:
            given["authorization"] = f"Bearer {token}"
        if session is not None:
            given["mcp-session-id"] = session
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return HttpRequest(method=method, target=target, headers=given | dict(headers or {}), body=content)

    def ask(self, request: HttpRequest) -> Reply:
        """Give a request to the door and take its one answer, which must not need the plugin."""
        ear = Ear()
        self.door.answer(request, ear)
        self.log.settle()
        assert len(ear.heard) == 1
        return Reply.read(ear.heard[0])

    def say(self, method: str, params: object = None, *, number: int | str = 1, **fields: Any) -> Reply:
        """One request of a legacy client."""
        return self.ask(self.request(self.message(method, params, number), **fields))

    def say_modern(self, method: str, params: dict[str, Any] | None = None, **fields: Any) -> Reply:
        return self.ask(self.modern_request(method, params, **fields))

    @staticmethod
    def message(method: str, params: object = None, number: int | str = 1) -> dict[str, Any]:
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method}
        return message if params is None else message | {"params": params}

    @classmethod
    def modern_request(
        cls,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        meta: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> HttpRequest:
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            **(meta or {}),
        }
        given = {"mcp-protocol-version": MODERN, "mcp-method": method}
        if params and "name" in params:
            given["mcp-name"] = params["name"]
        body = cls.message(method, {**(params or {}), "_meta": meta})
        return cls.request(body, headers=given | dict(headers or {}), **fields)

    def open_session(self, **fields: Any) -> str:
        reply = self.say("initialize", {"protocolVersion": "2025-11-25"}, **fields)
        assert reply.status == 200
        return reply.headers["mcp-session-id"]


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture(scope="session")
def new_kit() -> Callable[[], Kit]:
    """For property tests, which need a fresh house for every example."""
    return Kit


@pytest.fixture
def workers() -> int:
    """How many workers a gateway of these tests has."""
    return MAX_WORKERS


@pytest.fixture
def memories(tmp_path: Path, workers: int) -> Iterator[list[SharedMemory]]:
    """What two workers share, as each has it."""
    made = [SharedMemory(tmp_path, worker, workers) for worker in range(2)]
    yield made
    for memory in made:
        memory.close()


@pytest.fixture
def others() -> Iterator[OtherWorkers]:
    """Workers in processes of their own."""
    made = OtherWorkers()
    yield made
    made.end()
