"""The plugin server's half of the bridge: a real warden over a real child process that speaks stdio, in either era.

The child is the fixture of the conformance suite, which offers everything in both styles. No sandbox and no core: what
stands between them is shown elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekisho import testing
from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server import Warden, WardenRules
from sekisho.plugin_server.pipes import Pipes
from sekisho.plugin_server.session import PluginSession
from sekisho.protocol import JsonLimits
from sekisho.wire import (
    AnswerFrame,
    CallContext,
    CallFrame,
    DenialFrame,
    Inbound,
    StateFrame,
    SurfaceFrame,
    encode_context,
)
from sekisho.wire.frames import Kind

pytestmark = pytest.mark.real

WAIT_S = 30.0
MAY_ASK = ("elicitation", "elicitation/url", "roots", "sampling", "sampling/tools")
FIXTURE = Path(testing.__file__).parent / "conformance_server"
# A server that ends when it is asked what it does not know; then it is asked no more.
TOUCHY = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    method, ident = message["method"], message.get("id")
    if method == "initialize":
        info = {"name": "t", "version": "1"}
        result = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": info}
    elif method == "tools/list":
        result = {"tools": []}
    elif ident is None:
        continue
    else:
        sys.exit(3)
    print(json.dumps({"jsonrpc": "2.0", "id": ident, "result": result}), flush=True)
"""


class Board:
    """Hears of one plugin."""

    def __init__(self) -> None:
        self.surfaces: asyncio.Queue[SurfaceFrame] = asyncio.Queue()
        self.states: asyncio.Queue[StateFrame] = asyncio.Queue()
        self.denials: list[DenialFrame] = []

    def publish_denial(self, denial: DenialFrame) -> None:
        self.denials.append(denial)

    def publish_surface(self, frame: SurfaceFrame) -> None:
        self.surfaces.put_nowait(frame)

    def publish_state(self, frame: StateFrame) -> None:
        self.states.put_nowait(frame)

    async def until(self, state: str) -> StateFrame:
        async with asyncio.timeout(WAIT_S):
            while (frame := await self.states.get()).state != state:
                pass
        return frame


class Child:
    """A process over pipes, as the warden holds it."""

    def __init__(self, session: PluginSession, process: asyncio.subprocess.Process) -> None:
        self.session = session
        self._process = process
        self.end: asyncio.Future[SekishoError] = asyncio.get_running_loop().create_future()

    async def ended(self) -> SekishoError:
        return await asyncio.shield(self.end)

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self.finish(Unavailable("plugin_exited", "killed"))

    def finish(self, error: SekishoError) -> None:
        if not self.end.done():
            self.end.set_result(error)


class House:
    """A warden with its plugin."""

    def __init__(self, *argv: str) -> None:
        self.argv = argv
        self.board = Board()
        self.lives: list[Child] = []
        self.warden = Warden(
            connect=self.connect,
            publisher=self.board,
            rules=WardenRules(start_timeout_s=WAIT_S, execution_timeout_s=WAIT_S, health_interval_s=3600),
            log=lambda event, **facts: None,
        )

    @asynccontextmanager
    async def connect(self, on_list_changed: Callable[[], None]) -> AsyncIterator[Child]:
        ends = [os.pipe() for _ in range(3)]
        (stdin, our_in), (our_out, stdout), (our_err, stderr) = ends
        process = await asyncio.create_subprocess_exec(*self.argv, stdin=stdin, stdout=stdout, stderr=stderr)
        for fd in (stdin, stdout, stderr):
            os.close(fd)
        session = PluginSession(limits=JsonLimits(), may_ask=MAY_ASK, on_list_changed=on_list_changed)
        child = Child(session, process)
        pipes = Pipes(
            receive_all=session.receive_all,
            receive_large=session.receive_large,
            on_end=child.finish,
            max_line_bytes=1 << 20,
        )
        session.attach(pipes)
        self.lives.append(child)
        try:
            await pipes.open(our_in, our_out, our_err)
            yield child
        finally:
            pipes.close()
            await child.kill()


class Caller:
    """One call, and all it hears."""

    def __init__(
        self, house: House, tool: str, arguments: Any, context: CallContext | None, **more: Any
    ) -> None:
        self.heard: asyncio.Queue[tuple[Kind, Any]] = asyncio.Queue()
        frame = CallFrame(
            tool,
            json.dumps(arguments).encode(),
            "",
            WAIT_S,
            context=b"" if context is None else encode_context(context),
            **more,
        )
        self.house = house
        self.inbound = Inbound(1, frame, self._hear)
        house.warden.call(self.inbound)

    async def take(self, kind: Kind) -> Any:
        found, payload = await asyncio.wait_for(self.heard.get(), WAIT_S)
        assert found is kind, payload
        return payload

    async def all(self) -> list[tuple[Kind, Any]]:
        """Everything up to the answer; questions are answered on the way."""
        heard: list[tuple[Kind, Any]] = []
        while not heard or heard[-1][0] not in (Kind.RESULT, Kind.ERROR, Kind.FAILURE):
            heard.append(await asyncio.wait_for(self.heard.get(), WAIT_S))
            if heard[-1][0] is Kind.ASK:
                ask = heard[-1][1]
                answer = json.dumps(_answer_to(ask["method"])).encode()
                self.house.warden.answer(AnswerFrame(STREAM.scope, ask["ask"], msgspec.Raw(answer)))
        return heard

    def _hear(self, call: int, kind: Kind, payload: bytes | memoryview) -> None:
        for line in bytes(payload).split(b"\n") if kind is Kind.NOTE else [bytes(payload)]:
            self.heard.put_nowait((kind, json.loads(line)))


STREAM = CallContext(scope="session", style="stream", may_ask=MAY_ASK)
ROUNDS = CallContext(scope="client", style="rounds", may_ask=MAY_ASK)


def _answer_to(method: str) -> dict[str, Any]:
    if method == "sampling/createMessage":
        content = {"type": "text", "text": "Paris"}
        return {"role": "assistant", "content": content, "model": "m", "stopReason": "endTurn"}
    if method == "roots/list":
        return {"roots": [{"uri": "file:///etc"}]}
    return {"action": "accept", "content": {"username": "u", "email": "e@x", "name": "n"}}


async def _in_rounds(house: House, tool: str, arguments: Any) -> tuple[Any, int]:
    """A result in as many rounds as it takes, and how many those were."""
    context = ROUNDS
    for number in range(1, 9):
        heard = await Caller(house, tool, arguments, context).all()
        kind, result = heard[-1]
        assert kind is Kind.RESULT, result
        if result.get("resultType") != "input_required":
            return result, number
        asked = {key: _answer_to(one["method"]) for key, one in result.get("inputRequests", {}).items()}
        context = msgspec.structs.replace(
            ROUNDS,
            request_state=result.get("requestState"),
            input_responses=msgspec.Raw(json.dumps(asked).encode()),
        )
    raise AssertionError("it never ends")


@asynccontextmanager
async def _house(*argv: str) -> AsyncIterator[House]:
    house = House(*argv)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(house.warden.run())
        try:
            await house.board.until("ready")
            yield house
        finally:
            running.cancel()


@pytest.fixture(params=["legacy", "modern"])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A warden over the fixture, in one era."""
    async with _house(sys.executable, str(FIXTURE), "--era", request.param) as made:
        assert made.lives[0].session.modern is (request.param == "modern")
        yield made


async def test_a_dual_plugin_is_spoken_to_in_the_newer_era() -> None:
    async with _house(sys.executable, str(FIXTURE), "--era", "dual") as made:
        assert made.lives[0].session.modern


async def test_everything_offered_is_listed(house: House) -> None:
    surface = await asyncio.wait_for(house.board.surfaces.get(), WAIT_S)
    assert min(len(surface.tools), len(surface.prompts), len(surface.resources)) > 0
    assert surface.templates


async def test_plain_calls_prompts_resources_and_completion_work_in_both_eras(house: House) -> None:
    for context in (None, STREAM, ROUNDS):
        result = await Caller(house, "test_simple_text", {}, context).take(Kind.RESULT)
        assert result["content"][0]["type"] == "text"
    prompt = await Caller(house, "prompts/get", {"name": "test_simple_prompt"}, ROUNDS).take(Kind.RESULT)
    assert prompt["messages"]
    resource = await Caller(house, "resources/read", {"uri": "test://static-text"}, ROUNDS).take(Kind.RESULT)
    assert resource["contents"]
    ref = {"type": "ref/prompt", "name": "test_prompt_with_arguments"}
    wish = {"ref": ref, "argument": {"name": "arg1", "value": "t"}}
    assert "completion" in await Caller(house, "completion/complete", wish, STREAM).take(Kind.RESULT)


async def test_an_error_of_the_plugin_is_passed_on_as_it_came(house: House) -> None:
    error = await Caller(house, "prompts/get", {"name": "none"}, ROUNDS).take(Kind.ERROR)
    assert isinstance(error["code"], int)


@pytest.mark.parametrize(
    "tool",
    [
        "test_elicitation",
        "test_sampling",
        "test_input_required_result_elicitation",
        "test_input_required_result_list_roots",
    ],
)
async def test_a_question_reaches_both_kinds_of_client_from_both_kinds_of_plugin(
    house: House, tool: str
) -> None:
    arguments = {"message": "who?", "prompt": "capital?"}
    heard = await Caller(house, tool, arguments, STREAM).all()
    assert [kind for kind, _ in heard] == [Kind.ASK, Kind.RESULT]
    result, rounds = await _in_rounds(house, tool, arguments)
    assert (rounds, result.get("isError", False)) == (2, False)


async def test_a_question_of_several_rounds_ends_well(house: House) -> None:
    heard = await Caller(house, "test_input_required_result_multi_round", {}, STREAM).all()
    assert heard[-1][0] is Kind.RESULT
    assert [kind for kind, _ in heard].count(Kind.ASK) >= 2
    _, rounds = await _in_rounds(house, "test_input_required_result_multi_round", {})
    assert rounds >= 3


@pytest.mark.threat("T-GARBAGE")
async def test_a_client_that_may_not_be_asked_is_not_asked(house: House) -> None:
    for style in ("stream", "rounds"):
        context = CallContext(scope="quiet", style=style)
        heard = await Caller(house, "test_elicitation", {"message": "who?"}, context).all()
        assert [kind for kind, _ in heard][:-1] == []
        assert heard[-1][1].get("resultType") != "input_required"


async def test_logs_and_progress_come_before_the_answer(house: House) -> None:
    context = msgspec.structs.replace(ROUNDS, log_level="debug")
    heard = await Caller(house, "test_tool_with_logging", {}, context).all()
    assert [kind for kind, _ in heard] == [Kind.EVENT] * 3 + [Kind.RESULT]
    assert heard[0][1]["method"] == "notifications/message"
    heard = await Caller(house, "test_tool_with_logging", {}, ROUNDS).all()
    assert [kind for kind, _ in heard] == [Kind.RESULT]  # it did not ask for them
    heard = await Caller(house, "test_tool_with_progress", {}, STREAM, wants_progress=True).all()
    assert [kind for kind, _ in heard][:-1] == [Kind.NOTE] * 3


async def test_a_resource_can_be_followed(house: House) -> None:
    uri = "test://watched-resource"
    assert await Caller(house, "resources/subscribe", {"uri": uri}, STREAM).take(Kind.RESULT) == {}
    listener = Caller(house, "subscriptions/listen", {"scope": True}, STREAM)
    await listener.take(Kind.EVENT)
    modern = Caller(
        house, "subscriptions/listen", {"notifications": {"resourceSubscriptions": [uri]}}, ROUNDS
    )
    acknowledged = await modern.take(Kind.EVENT)
    assert acknowledged["params"]["notifications"] == {"resourceSubscriptions": [uri]}
    await Caller(house, "test_trigger_resource_update", {}, None).take(Kind.RESULT)
    for caller in (listener, modern):
        event = await caller.take(Kind.EVENT)
        assert event == {"method": "notifications/resources/updated", "params": {"uri": uri}}
    assert await Caller(house, "resources/unsubscribe", {"uri": uri}, STREAM).take(Kind.RESULT) == {}


async def test_a_withdrawn_call_ends_and_the_plugin_lives(house: House) -> None:
    caller = Caller(house, "test_elicitation", {"message": "who?"}, STREAM)
    await caller.take(Kind.ASK)
    caller.inbound.close()
    house.warden.cancel(caller.inbound)
    await Caller(house, "test_simple_text", {}, STREAM).take(Kind.RESULT)
    assert len(house.lives) == 1


async def test_a_plugin_that_ends_when_asked_for_its_era_is_started_as_an_old_one() -> None:
    async with _house(sys.executable, "-c", TOUCHY) as made:
        assert len(made.lives) == 2
        assert not made.lives[1].session.modern
