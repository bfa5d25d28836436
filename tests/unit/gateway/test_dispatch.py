"""Each method is served in its era: what the gateway can say asks no plugin, the rest goes to the one it can mean."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.offering import everything, offering
from tests.unit.gateway.speaking import ASKABLE, KEY, TAGS, Client, Said, calc, context, offer, reply

from sekisho.errors import PluginError, Refused, Unavailable
from sekisho.gateway import dispatch as module
from sekisho.policy import METHODS, AccessPolicy, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.gateway.conftest import Kit

WHO: Final = {"name": "who", "value": "A"}
GREET: Final = {"type": "ref/prompt", "name": "calc__greet"}
ITEM: Final = {"type": "ref/resource", "uri": "test://item/{id}"}
RESULTS: Final[dict[str, dict[str, Any]]] = {
    "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}]},
    "resources/read": {"contents": [{"uri": "test://one", "text": "hi"}]},
    "completion/complete": {"completion": {"values": ["A"]}},
    "resources/subscribe": {},
    "resources/unsubscribe": {},
}
PARAMS: Final[dict[str, dict[str, Any]]] = {
    "prompts/get": {"name": "calc__greet"},
    "resources/read": {"uri": "test://one"},
    "completion/complete": {"ref": GREET, "argument": WHO},
    "resources/subscribe": {"uri": "test://one"},
    "resources/unsubscribe": {"uri": "test://one"},
}
MODERN: Final = ("completion/complete", "prompts/get", "resources/read")


@pytest.fixture
def kit(kit: Kit) -> Kit:
    offer(kit, calc(), offering("other", tools=[kit.erase], prompts=["greet"], resources=["other://x"]))
    return kit


def both(kit: Kit) -> list[Client]:
    return [Client(kit, capabilities=ASKABLE), Client(kit, modern=False, capabilities=ASKABLE)]


def served(kit: Kit, client: Client, method: str, params: Any = None) -> Said:
    """A request that its plugin answers as it should."""
    said = client.send(method, PARAMS[method] if params is None else params)
    if not said.is_over:
        reply(kit, RESULTS[method])
    return said


# methods that a plugin is asked


@pytest.mark.parametrize("method", sorted(RESULTS))
def test_a_legacy_client_is_given_what_the_plugin_said(kit: Kit, method: str) -> None:
    said = served(kit, Client(kit, modern=False), method)
    assert said.result == RESULTS[method]
    assert kit.line.frames[0].tool == method
    assert kit.log.kinds == ["intent", "outcome"]
    assert {entry["call"] for entry in kit.log.entries} == {said.call}


@pytest.mark.parametrize("method", MODERN)
def test_a_modern_client_is_told_that_it_is_complete_and_private(kit: Kit, method: str) -> None:
    result = served(kit, Client(kit), method).result
    assert result["resultType"] == "complete"
    assert {name: result[name] for name in RESULTS[method]} == RESULTS[method]
    if method == "resources/read":
        assert (result["ttlMs"], result["cacheScope"]) == (0, "private")


@pytest.mark.parametrize("method", ["resources/subscribe", "resources/unsubscribe", "logging/setLevel"])
def test_what_the_newer_era_dropped_is_not_served_there(kit: Kit, method: str) -> None:
    said = Client(kit).send(method, {"uri": "test://one", "level": "info"})
    assert (said.reply.status, said.error["code"], said.code) == (404, -32601, "method_unknown")
    assert kit.line.frames == []


@pytest.mark.parametrize(
    "method", ["tasks/get", "tasks/list", "sampling/createMessage", "roots/list", "tools/Call", "x"]
)
def test_a_method_that_nobody_serves_is_unknown_in_the_way_of_its_era(kit: Kit, method: str) -> None:
    modern, legacy = (client.send(method) for client in both(kit))
    assert (modern.reply.status, legacy.reply.status) == (404, 200)
    assert modern.code == legacy.code == "method_unknown"
    assert modern.error["code"] == legacy.error["code"] == -32601


@pytest.mark.parametrize("method", sorted(RESULTS))
def test_parameters_are_read_before_anything_is_asked(kit: Kit, method: str) -> None:
    client = Client(kit, modern=False)
    for params in (
        {},
        {"uri": 3, "name": 3, "ref": 3},
        {**PARAMS[method], next(iter(PARAMS[method])).upper(): 1},
    ):
        said = client.send(method, params)
        assert (said.reply.status, said.code) == (400, "params_invalid")
    assert kit.line.frames == []


# who is meant


def test_prompts_carry_their_plugins_name_at_the_endpoint_of_all_and_none_at_their_own(kit: Kit) -> None:
    for client, name in (
        (Client(kit), "calc__greet"),
        (Client(kit), "other__greet"),
        (Client(kit, target="/p/calc/mcp"), "greet"),
        (Client(kit, target="/p/other/mcp"), "greet"),
    ):
        assert served(kit, client, "prompts/get", {"name": name}).code == "ok"
        assert json.loads(kit.line.frames[-1].arguments) == {"name": "greet"}
    for client, name in ((Client(kit), "greet"), (Client(kit, target="/p/calc/mcp"), "calc__greet")):
        said = client.send("prompts/get", {"name": name})
        assert (said.code, said.error["code"]) == ("prompt_unknown", -32602)
    assert len(kit.line.frames) == 4


@pytest.mark.threat("T-SHADOW")
def test_a_uri_that_two_plugins_claim_is_refused_at_the_endpoint_of_all(kit: Kit) -> None:
    offer(kit, calc(), offering("other", resources=["test://one"], templates=["test://item/{x}"]))
    for uri in ("test://one", "test://item/7"):
        for client in both(kit):
            for method in ("resources/read",) if client.modern else ("resources/read", "resources/subscribe"):
                assert client.send(method, {"uri": uri}).code == "resource_ambiguous"
        for plugin in ("calc", "other"):
            alone = Client(kit, target=f"/p/{plugin}/mcp")
            assert served(kit, alone, "resources/read", {"uri": uri}).code == "ok"
    assert served(kit, Client(kit), "resources/read", {"uri": "test://two"}).code == "ok"


def test_a_claim_of_a_plugin_that_this_client_may_not_use_does_not_count(kit: Kit) -> None:
    offer(kit, calc(), offering("other", resources=["test://one"]), rules=[everything("aya", "calc")])
    assert served(kit, Client(kit), "resources/read").code == "ok"


@pytest.mark.threat("T-SHADOW")
@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("prompts/get", {"name": "calc__ghost"}, "prompt_unknown"),
        ("prompts/get", {"name": "ghost__greet"}, "plugin_unknown"),
        ("resources/read", {"uri": "test://ghost"}, "resource_unknown"),
        ("resources/read", {"uri": "test://item/1/2"}, "resource_unknown"),
        ("resources/read", {"uri": "file:///etc/passwd"}, "resource_unknown"),
        ("resources/read", {"uri": "TEST://one"}, "resource_unknown"),
        ("completion/complete", {"ref": {**GREET, "name": "calc__ghost"}, "argument": WHO}, "params_invalid"),
        (
            "completion/complete",
            {"ref": {**ITEM, "uri": "ghost://{id}"}, "argument": WHO},
            "resource_unknown",
        ),
        ("tools/call", {"name": "calc__resources/read", "arguments": {"uri": "test://one"}}, "tool_unknown"),
        ("tools/call", {"name": "calc__prompts/get", "arguments": {"name": "greet"}}, "tool_unknown"),
        ("tools/call", {"name": "calc__ghost"}, "tool_unknown"),
    ],
)
def test_what_was_not_approved_is_not_there(kit: Kit, method: str, params: Any, code: str) -> None:
    for client in both(kit):
        assert client.send(method, params).code == code
    assert kit.line.frames == []


@pytest.mark.threat("T-OPERATION")
def test_what_is_approved_is_served_to_whom_it_is_permitted(kit: Kit) -> None:
    rights = [
        Rule(
            client="ben",
            plugin=kit.calc,
            operations=frozenset({"erase"}),
            methods=frozenset({"prompts/get", "resources/read", "completion/complete"}),
            prompts=frozenset({"other"}),
            resources=frozenset({"test://two"}),
        ),
        everything("aya", "calc"),
    ]
    offer(kit, calc(), rules=rights)
    aya, ben = Client(kit), Client(kit, token=kit.ben)
    requests: list[tuple[str, dict[str, Any]]] = [
        ("prompts/get", {"name": "calc__greet"}),
        ("resources/read", {"uri": "test://one"}),
        ("resources/read", {"uri": "test://item/1"}),
        ("completion/complete", {"ref": GREET, "argument": WHO}),
        ("completion/complete", {"ref": ITEM, "argument": WHO}),
    ]
    for method, params in requests:
        refused = ben.send(method, params)
        assert refused.code in {"prompt_unknown", "resource_unknown", "params_invalid"}, method
        assert served(kit, aya, method, params).code == "ok"
    assert served(kit, ben, "resources/read", {"uri": "test://two"}).code == "ok"


@pytest.mark.threat("T-OPERATION")
@pytest.mark.parametrize("method", sorted(RESULTS))
def test_a_method_that_was_not_granted_is_refused(kit: Kit, method: str) -> None:
    rule = everything("aya", "calc")
    kit.change(access=AccessPolicy([replace(rule, methods=METHODS - {method})]))
    said = Client(kit, modern=False).send(method, PARAMS[method])
    assert said.code in {"operation_not_allowed", "prompt_unknown", "resource_unknown"}
    assert kit.line.frames == []
    kit.change(access=AccessPolicy([rule]))
    assert served(kit, Client(kit, modern=False), method).code == "ok"


def test_a_plugin_that_does_not_stand_serves_nothing(kit: Kit) -> None:
    problem = Refused("plugin_quarantined", "review it")
    kit.change(standings={kit.calc: kit.standing(problem=problem)})
    client = Client(kit, target="/p/calc/mcp")
    assert client.send("prompts/get", {"name": "greet"}).code == "plugin_quarantined"
    assert client.send("resources/read", {"uri": "test://one"}).code == "plugin_quarantined"


def test_a_prompt_is_judged_and_searched_like_a_call(kit: Kit) -> None:
    client = Client(kit)
    stolen = {"name": "calc__greet", "arguments": {"text": KEY}}
    assert client.send("prompts/get", stolen).code in {
        "content_refused",
        "params_invalid",
        "arguments_invalid",
    }
    assert (
        client.send("completion/complete", {"ref": GREET, "argument": {**WHO, "value": KEY}}).code
        == "content_refused"
    )
    said = client.send("resources/read", {"uri": "test://one"})
    reply(kit, {"contents": [{"uri": "test://one", "text": TAGS}]})
    assert said.code == "content_refused"


# errors by era


@pytest.mark.parametrize(
    ("number", "legacy", "modern", "status"),
    [
        (-32002, -32002, -32602, 200),
        (-32602, -32002, -32602, 200),
        (-32601, -32601, -32601, 404),
        (-32021, -32021, -32021, 400),
        (-32050, -32603, -32603, 200),
        (-32022, -32603, -32603, 200),
        (7, 7, 7, 200),
    ],
)
def test_a_plugins_own_error_is_told_with_the_number_and_status_of_the_era(
    kit: Kit, number: int, legacy: int, modern: int, status: int
) -> None:
    for client in both(kit):
        said = client.send("resources/read", {"uri": "test://one"})
        body = json.dumps(
            {"code": number, "message": "their words", "data": {"code": "token_invalid"}}
        ).encode()
        reply(kit, PluginError(body))
        assert said.error["code"] == (modern if client.modern else legacy)
        assert said.reply.status == (status if client.modern else 200)
        assert said.error["message"] == "their words"
        is_not_found = number in (-32002, -32602)
        assert said.error["data"].keys() == {"plugin", "call"} | ({"uri"} if is_not_found else set())
        assert kit.log.entries[-1]["code"] == "plugin_error"
        assert "their words" not in json.dumps(kit.log.entries[-1])


def test_a_resource_that_is_not_there_has_the_number_of_its_era(kit: Kit) -> None:
    modern, legacy = (client.send("resources/read", {"uri": "test://ghost"}) for client in both(kit))
    assert (modern.error["code"], legacy.error["code"]) == (-32602, -32002)
    assert {one.error["data"]["uri"] for one in (modern, legacy)} == {"test://ghost"}


def test_only_a_resource_that_is_not_there_changes_its_number(kit: Kit) -> None:
    for client in both(kit):
        said = client.send("prompts/get", {"name": "calc__greet"})
        reply(kit, PluginError(b'{"code":-32602,"message":"m"}'))
        assert said.error["code"] == -32602


# the level of log messages


def test_every_plugin_that_logs_hears_of_the_level(kit: Kit) -> None:
    quiet = offering("quiet", tools=[kit.erase], capabilities={"tools": {}})
    offer(kit, calc(), offering("other", tools=[kit.erase]), quiet)
    said = Client(kit, modern=False).send("logging/setLevel", {"level": "warning"})
    assert [frame.tool for frame in kit.line.frames] == ["logging/setLevel"] * 2
    assert [json.loads(frame.arguments) for frame in kit.line.frames] == [{"level": "warning"}] * 2
    assert len({context(kit.line, number).scope for number in (0, 1)}) == 1
    reply(kit, {})
    assert not said.is_over
    reply(kit, Unavailable("plugin_exited", "gone"))
    assert said.result == {}
    assert [entry["code"] for entry in kit.log.entries if entry["kind"] == "outcome"] == [
        "ok",
        "plugin_exited",
    ]


def test_a_level_that_no_plugin_took_is_refused(kit: Kit) -> None:
    said = Client(kit, modern=False).send("logging/setLevel", {"level": "warning"})
    for _ in kit.line.frames:
        reply(kit, Unavailable("plugin_exited", "gone"))
    assert said.code == "plugin_exited"


def test_a_level_at_an_endpoint_without_logs_is_unknown(kit: Kit) -> None:
    offer(kit, offering("quiet", tools=[kit.erase], capabilities={"tools": {}}))
    client = Client(kit, modern=False)
    assert client.send("logging/setLevel", {"level": "info"}).code == "method_unknown"


def test_a_level_that_is_set_ends_with_its_client(kit: Kit) -> None:
    said = Client(kit, modern=False).send("logging/setLevel", {"level": "info"})
    said.trip.withdraw(Refused("cancelled", "the client closed the connection"))
    kit.log.settle()
    assert sorted(kit.line.cancelled) == [1, 2]


# what the gateway says itself


@pytest.mark.parametrize(
    "method", ["tools/list", "prompts/list", "resources/list", "resources/templates/list"]
)
def test_lists_are_answered_here(kit: Kit, method: str) -> None:
    for client in both(kit):
        said = client.send(method)
        assert said.code == "ok"
        assert client.send(method, {"cursor": 3}).code == "params_invalid"
        assert client.send(method, {"cursor": "x"}).code == "params_invalid"
    assert kit.line.frames == []


def test_greetings_are_answered_here_in_their_era(kit: Kit) -> None:
    modern, legacy = both(kit)
    assert "2026-07-28" in modern.send("server/discover").result["supportedVersions"]
    assert legacy.send("ping").result == {}
    assert modern.send("ping").code == legacy.send("server/discover").code == "method_unknown"
    for params in ({}, {"protocolVersion": 3}, {"protocolVersion": "2025-11-25", "capabilities": []}):
        assert legacy.send("initialize", params).code == "params_invalid"


# arguments repeated in headers

REGION: Final[dict[str, Any]] = {
    "name": "erase",
    "inputSchema": {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
}


@pytest.mark.threat("T-PARSER")
def test_headers_that_repeat_arguments_say_the_same(kit: Kit) -> None:
    offer(kit, offering("calc", tools=[REGION]))
    modern, legacy = both(kit)
    params = {"name": "calc__erase", "arguments": {"region": "eu"}}
    for said in (modern.send("tools/call", params), modern.send("tools/call", params, mcp_param_region="us")):
        assert (said.reply.status, said.error["code"]) == (400, -32020)
    assert kit.line.frames == []
    assert not modern.send("tools/call", params, mcp_param_region="eu").is_over
    assert not legacy.send("tools/call", params).is_over  # its era has no such headers


# who asks


def test_a_legacy_client_says_how_it_is_asked_even_if_it_can_be_asked_nothing(kit: Kit) -> None:
    """A round of a modern plugin may hold its state alone; it has to end at the plugin's side."""
    quiet = offering("calc", tools=[kit.erase], capabilities={"tools": {}})
    offer(kit, quiet)
    for modern in (True, False):
        Client(kit, modern=modern, capabilities={}).send("tools/call", {"name": "calc__erase"})
    assert kit.line.frames[0].context == b""
    assert (context(kit.line).style, context(kit.line).may_ask) == ("stream", ())


def test_the_memory_of_clients_that_can_be_asked_nothing_is_bounded(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CALLERS", 1)
    for token in (kit.aya, kit.ben, kit.aya):
        Client(kit, token=token).send("tools/call", {"name": "calc__erase"})
    assert kit.line.frames[0].context == b""
    Client(kit, capabilities=ASKABLE).send("tools/call", {"name": "calc__erase"})
    assert set(context(kit.line).may_ask) == {"elicitation", "elicitation/url", "sampling", "sampling/tools"}


@pytest.mark.parametrize("level", ["loud", 3, None, {}])
def test_a_log_level_of_a_request_is_one_of_mcp(kit: Kit, level: Any) -> None:
    client = Client(kit)
    client.meta = {"io.modelcontextprotocol/logLevel": level}
    said = client.send("tools/call", {"name": "calc__erase"})
    if level is None:
        assert not said.is_over
    else:
        assert (said.reply.status, said.code) == (400, "params_invalid")


words = st.sampled_from([*sorted(RESULTS), "tools/call", "tools/list", "logging/setLevel", "subscriptions/listen",
                         "initialize", "ping", "server/discover"])  # fmt: skip
values = st.recursive(
    st.none() | st.integers(-3, 3) | st.sampled_from(["calc__greet", "test://one", "info", "calc__erase", ""]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["name", "uri", "arguments", "ref", "argument", "level", "cursor", "notifications",
                         "resourceSubscriptions", "inputResponses", "requestState", "value", "type", "protocolVersion"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(words, st.dictionaries(st.sampled_from(sorted({"name", "uri", "arguments", "ref", "argument", "level",
       "cursor", "notifications", "inputResponses", "requestState"})), values, max_size=4), st.booleans())  # fmt: skip
def test_every_request_is_answered_once_or_under_way_whatever_it_says(
    new_kit: Callable[[], Kit], method: str, params: dict[str, Any], is_modern: bool
) -> None:
    kit = new_kit()
    offer(kit, calc())
    said = Client(kit, modern=is_modern, capabilities=ASKABLE).send(method, params)
    assert said.is_over or said.trip is not None
    assert len(said.ear.heard) <= 1
    for number in tuple(kit.line.waiting):
        reply(kit, {"content": []}, number)
    assert said.is_over or method == "subscriptions/listen"
