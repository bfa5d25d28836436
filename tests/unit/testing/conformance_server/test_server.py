"""The fixture of both eras over real pipes: the same tool asks by a request on one wire, by a round on the other."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.testing.conftest import Session

import sekisho.testing

FOLDER = Path(sekisho.testing.__file__).parent / "conformance_server"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "sampling": {}, "roots": {}},
}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"elicitation": {}, "sampling": {}},
    "clientInfo": {"name": "t", "version": "1"},
}

Speak = Callable[[str], Session]


@pytest.fixture
def speak() -> Iterator[Speak]:
    """Start the fixture by the path of its folder, isolated from every installed package."""
    started: list[Session] = []

    def begin(era: str) -> Session:
        argv = [sys.executable, "-I", "-S", str(FOLDER), "--era", era]
        started.append(Session(argv, {"PATH": "/usr/bin:/bin"}))
        return started[-1]

    yield begin
    for session in started:
        session.close()


def modern(session: Session, method: str, **params: Any) -> dict[str, Any]:
    return session.ask(method, {"_meta": META, **params})


def asked(session: Session, **params: Any) -> dict[str, Any]:
    answer = modern(session, "tools/call", arguments={}, **params)
    return dict(answer.get("result", answer))


@pytest.mark.parametrize("era", ["dual", "modern"])
def test_a_modern_client_is_answered_without_a_handshake(speak: Speak, era: str) -> None:
    session = speak(era)
    found = modern(session, "server/discover")["result"]
    assert found["supportedVersions"] == ["2026-07-28"]
    assert found["resultType"] == "complete"
    assert modern(session, "tools/call", name="test_simple_text")["result"]["content"][0]["type"] == "text"


@pytest.mark.parametrize("era", ["dual", "legacy"])
def test_a_legacy_client_is_asked_in_the_midst_of_its_call(speak: Speak, era: str) -> None:
    session = speak(era)
    assert session.ask("initialize", INITIALIZE)["result"]["protocolVersion"] == "2025-11-25"
    call = session.send("tools/call", {"name": "test_input_required_result_elicitation", "arguments": {}})
    question = session.read()
    assert question["method"] == "elicitation/create"
    answer = {"action": "accept", "content": {"name": "Alice"}}
    session.write({"jsonrpc": "2.0", "id": question["id"], "result": answer})
    response = session.read()
    assert response["id"] == call
    assert response["result"]["content"][0]["text"] == "Hello, Alice!"


def test_a_modern_client_is_asked_by_a_round(speak: Speak) -> None:
    session = speak("dual")
    first = asked(session, name="test_elicitation_sep1034_defaults")
    assert first["resultType"] == "input_required"
    assert first["inputRequests"]["user"]["method"] == "elicitation/create"
    answers = {"user": {"action": "accept", "content": {"age": 1}}, "unknown": {}}
    done = asked(session, name="test_elicitation_sep1034_defaults", inputResponses=answers)
    assert done["resultType"] == "complete"


def test_state_travels_through_two_rounds_and_only_ours_is_taken(speak: Speak) -> None:
    session = speak("modern")
    name = "test_input_required_result_multi_round"
    first = asked(session, name=name)
    step1 = {"step1": {"action": "accept", "content": {"name": "Alice"}}}
    second = asked(session, name=name, inputResponses=step1, requestState=first["requestState"])
    assert second["requestState"] != first["requestState"]
    step2 = {"step2": {"action": "accept", "content": {"color": "blue"}}}
    tampered = asked(session, name=name, inputResponses=step2, requestState=second["requestState"] + "A")
    assert tampered["error"]["code"] == -32602
    other = asked(session, name="test_sampling", requestState=second["requestState"])
    assert other["error"]["code"] == -32602
    done = asked(session, name=name, inputResponses=step2, requestState=second["requestState"])
    assert set(json.loads(done["content"][0]["text"])) == {"step1", "step2"}


def test_legacy_only_does_not_know_discover_and_modern_only_refuses_initialize(speak: Speak) -> None:
    assert modern(speak("legacy"), "server/discover")["error"]["code"] == -32601
    assert speak("modern").ask("initialize", INITIALIZE)["error"]["code"] == -32022


def test_a_listener_hears_what_it_asked_for(speak: Speak) -> None:
    session = speak("modern")
    wanted = {"_meta": META, "notifications": {"resourceSubscriptions": ["test://watched-resource"]}}
    listening = session.send("subscriptions/listen", wanted)
    assert session.read()["method"] == "notifications/subscriptions/acknowledged"
    modern(session, "tools/call", name="test_trigger_tool_change")
    session.send("tools/call", {"_meta": META, "name": "test_trigger_resource_update"})
    heard = session.read()
    assert heard["method"] == "notifications/resources/updated"
    assert heard["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == listening
    session.read()


def test_a_cancelled_call_is_not_answered(speak: Speak) -> None:
    session = speak("legacy")
    session.ask("initialize", INITIALIZE)
    call = session.send("tools/call", {"name": "test_elicitation", "arguments": {"message": "?"}})
    assert session.read()["method"] == "elicitation/create"
    session.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call}})
    assert session.ask("ping")["result"] == {}
