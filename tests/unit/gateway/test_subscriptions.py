"""Streams of news: told of what this client may see and read, by the house and by the plugin it belongs to."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.unit.gateway.offering import everything, offering
from tests.unit.gateway.speaking import (
    ASKABLE,
    FORM,
    TAGS,
    Client,
    Said,
    ask,
    calc,
    context,
    offer,
    reply,
    tell,
)

from sekisho.errors import Refused, Unavailable
from sekisho.gateway.subscriptions import MAX_URI_CHARS, MAX_URIS, RENEW_S
from sekisho.policy import AccessPolicy, Rule

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit

ID: Final = "io.modelcontextprotocol/subscriptionId"
ACK: Final = "notifications/subscriptions/acknowledged"
UPDATED: Final = "notifications/resources/updated"
TOOLS: Final = "notifications/tools/list_changed"
LISTS: Final = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}


@pytest.fixture
def kit(kit: Kit) -> Kit:
    other = offering(
        "other", tools=[kit.erase], resources=["other://x"], capabilities={"tools": {}, "resources": {}}
    )
    offer(kit, calc(), other)
    return kit


def listen(client: Client, *uris: str, **words: Any) -> Said:
    return client.send("subscriptions/listen", {"notifications": {**words, "resourceSubscriptions": [*uris]}})


def granted(said: Said) -> Any:
    first = said.messages[0]
    assert first["method"] == ACK
    assert first["params"]["_meta"][ID] == 1
    return first["params"]["notifications"]


def legacy(kit: Kit, **fields: Any) -> Client:
    return Client(kit, modern=False, capabilities=ASKABLE, **fields)


# modern clients


def test_a_listener_is_told_first_what_it_will_hear_of(kit: Kit) -> None:
    said = listen(Client(kit), "test://one", "test://item/7", toolsListChanged=True, promptsListChanged=False)
    assert granted(said) == {
        "toolsListChanged": True,
        "resourceSubscriptions": ["test://one", "test://item/7"],
    }
    assert not said.is_over
    assert [frame.tool for frame in kit.line.frames] == ["subscriptions/listen"]
    sent = json.loads(kit.line.frames[0].arguments)
    assert sent == {"notifications": {"resourceSubscriptions": ["test://one", "test://item/7"]}}


def test_news_of_a_resource_name_the_request_that_listens(kit: Kit) -> None:
    said = listen(Client(kit), "test://one")
    tell(kit, ACK, {"notifications": {}})
    tell(kit, UPDATED, {"uri": "test://one", "_meta": {ID: "another", "x": 1}})
    assert [one["method"] for one in said.messages] == [ACK, UPDATED]
    assert said.messages[1]["params"] == {"uri": "test://one", "_meta": {ID: 1}}
    assert kit.log.kinds[-1] == "notes"


@pytest.mark.threat("T-CROSS")
def test_each_listener_has_its_own_scope_at_the_plugin_even_if_it_can_be_asked_nothing(kit: Kit) -> None:
    kit.change(access=AccessPolicy([everything(name, "calc") for name in ("aya", "ben")]))
    for token in (kit.aya, kit.ben):
        listen(Client(kit, token=token), "test://one")
    assert "" not in (scopes := [context(kit.line, number).scope for number in (0, 1)])
    assert scopes[0] != scopes[1]


@pytest.mark.threat("T-SHADOW")
def test_what_nobody_serves_this_client_is_left_out(kit: Kit) -> None:
    said = listen(Client(kit), "test://one", "test://three", "other://x", "x:")
    assert granted(said) == {"resourceSubscriptions": ["test://one"]}  # other cannot tell, and said so
    tell(kit, UPDATED, {"uri": "other://x"})
    tell(kit, UPDATED, {"uri": "test://three"})
    assert not said.named(UPDATED)
    tell(kit, UPDATED, {"uri": "test://one"})
    assert len(said.named(UPDATED)) == 1


@pytest.mark.threat("T-OPERATION")
def test_a_client_hears_of_what_it_may_read(kit: Kit) -> None:
    rule = Rule(
        client="aya",
        plugin=kit.calc,
        operations=frozenset({"erase"}),
        methods=frozenset({"resources/read", "subscriptions/listen"}),
        resources=frozenset({"test://two"}),
    )
    kit.change(access=AccessPolicy([rule]))
    assert granted(listen(Client(kit), "test://one", "test://two")) == {
        "resourceSubscriptions": ["test://two"]
    }
    assert granted(listen(Client(kit, token=kit.ben), "test://two")) == {}
    assert len(kit.line.frames) == 1


def test_what_two_plugins_claim_is_left_out_at_the_endpoint_of_all(kit: Kit) -> None:
    offer(kit, calc(), offering("other", resources=["test://one"]))
    assert granted(listen(Client(kit), "test://one", "test://two")) == {
        "resourceSubscriptions": ["test://two"]
    }
    alone = listen(Client(kit, target="/p/other/mcp"), "test://one")
    assert granted(alone) == {"resourceSubscriptions": ["test://one"]}


@pytest.mark.parametrize(
    "asked",
    [
        [],
        "all",
        {"resourceSubscriptions": "test://one"},
        {"resourceSubscriptions": {"a": 1}},
        {"resourceSubscriptions": [1]},
        {"resourceSubscriptions": [""]},
        {"resourceSubscriptions": ["x" * (MAX_URI_CHARS + 1)]},
        {"resourceSubscriptions": ["a:"] * (MAX_URIS + 1)},
    ],
)
def test_a_filter_of_another_form_is_refused(kit: Kit, asked: Any) -> None:
    said = Client(kit).send("subscriptions/listen", {"notifications": asked})
    assert (said.reply.status, said.code) == (400, "params_invalid")


@pytest.mark.threat("T-SHADOW")
def test_lists_change_when_what_this_client_sees_has_changed_and_not_when_a_plugin_says_so(kit: Kit) -> None:
    said = listen(Client(kit), "test://one", **LISTS)
    deaf = listen(Client(kit))
    before = len(said.messages)
    tell(kit, TOOLS, {}, number=1)
    kit.door.house_changed()
    kit.house = replace(kit.house)
    kit.door.house_changed()
    assert len(said.messages) == before
    kit.change(access=AccessPolicy([everything("aya", "calc"), everything("aya", "other", "erase")]))
    kit.door.house_changed()
    assert [one["method"] for one in said.messages[before:]] == [TOOLS]
    assert said.messages[-1]["params"]["_meta"] == {ID: 1}
    kit.change(standings={kit.calc: kit.house.standings[kit.calc]})
    kit.door.house_changed()
    told = [one["method"] for one in said.messages[before + 1 :]]
    assert told == [TOOLS, "notifications/resources/list_changed"]
    assert len(deaf.messages) == 1


def test_the_change_of_another_clients_rights_is_not_news(kit: Kit) -> None:
    said = listen(Client(kit), **LISTS)
    rules = [
        everything("aya", "calc", "erase"),
        everything("aya", "other", "erase"),
        everything("ben", "calc"),
    ]
    kit.change(access=AccessPolicy(rules))
    kit.door.house_changed()
    assert len(said.messages) == 1


def test_a_stream_ends_with_its_client_and_its_calls_with_it(kit: Kit) -> None:
    said = listen(Client(kit), "test://one", **LISTS)
    said.trip.withdraw(Refused("cancelled", "the client closed the connection"))
    kit.log.settle()
    assert kit.line.cancelled == [1]
    assert said.is_over
    kit.change(standings={})
    kit.door.house_changed()
    assert len(said.messages) == 2  # what was granted, and the end


def test_streams_end_when_the_house_closes_or_the_token_expires(kit: Kit) -> None:
    one, other = listen(Client(kit), "test://one"), legacy(kit).follow()
    kit.door.look(kit.clock.now())
    assert [one.is_over, other.is_over] == [False, False]
    kit.door.close()
    assert [one.is_over, other.is_over] == [True, True]
    assert one.result == {"resultType": "complete", "_meta": {ID: 1}}
    assert other.messages == []
    assert sorted(kit.line.cancelled) == [1, 2]


@pytest.mark.threat("T-FLOOD")
def test_a_client_has_only_so_many_streams_and_a_stream_that_ended_makes_room(kit: Kit) -> None:
    kit.rules = replace(kit.rules, max_streams_per_client=2)
    client = Client(kit)
    first, _ = listen(client), listen(client)
    assert listen(client).code == "busy"
    assert legacy(kit).follow().code == "busy"
    first.trip.withdraw(Refused("cancelled", "gone"))
    assert not listen(client).is_over


def test_a_client_that_reads_no_stream_cannot_listen(kit: Kit) -> None:
    assert listen(Client(kit, streams=False)).code == "busy"
    assert kit.line.frames == []


def test_a_call_that_ends_does_not_end_the_stream(kit: Kit) -> None:
    said = listen(Client(kit), "test://one", **LISTS)
    reply(kit, Unavailable("plugin_exited", "gone"))
    assert not said.is_over
    kit.change(standings={kit.calc: kit.house.standings[kit.calc]})
    kit.door.house_changed()
    assert said.named(TOOLS)


def test_a_plugin_that_was_gone_is_listened_to_again_and_not_too_often(kit: Kit) -> None:
    said = listen(Client(kit), "test://one")
    for seconds, calls in ((1, 1), (RENEW_S - 1, 1), (1, 2), (RENEW_S * 3, 2)):
        if seconds == 1 and calls == 1:
            reply(kit, Unavailable("plugin_exited", "gone"))
        kit.clock.advance(seconds)
        kit.door.look(kit.clock.now())
        kit.log.settle()
        assert len(kit.line.frames) == calls, seconds
    tell(kit, UPDATED, {"uri": "test://one"})
    assert len(said.named(UPDATED)) == 1
    assert kit.line.frames[0].arguments == kit.line.frames[1].arguments
    said.trip.withdraw(Refused("cancelled", "the client closed the connection"))
    kit.log.settle()
    kit.clock.advance(RENEW_S * 3)
    kit.door.look(kit.clock.now())
    assert kit.line.cancelled == [2]
    assert len(kit.line.frames) == 2


def test_nothing_is_asked_on_a_stream_of_news(kit: Kit) -> None:
    said = listen(Client(kit, capabilities=ASKABLE), "test://one")
    ask(kit, "elicitation/create", FORM)
    stream = legacy(kit).follow()
    ask(kit, "elicitation/create", FORM)
    assert [len(said.messages), len(stream.messages)] == [1, 0]
    assert [bool(bytes(answer.error)) for answer in kit.line.answers] == [True, True]


def test_listening_lasts_longer_than_a_call(kit: Kit) -> None:
    listen(Client(kit), "test://one")
    Client(kit).send("tools/call", {"name": "calc__erase"})
    assert kit.line.frames[0].timeout_s > 3600
    assert kit.line.frames[1].timeout_s == 30.0


# legacy clients


def test_the_stream_of_a_session_hears_what_its_scope_subscribed_to_and_changed_lists(kit: Kit) -> None:
    client = legacy(kit)
    client.send("resources/subscribe", {"uri": "test://one"})
    reply(kit, {})
    said = client.follow()
    assert json.loads(kit.line.frames[-1].arguments) == {"scope": True}
    assert context(kit.line, 0).scope == context(kit.line, -1).scope
    tell(kit, UPDATED, {"uri": "test://one"})
    tell(kit, "notifications/message", {"level": "info", "data": "x"})
    tell(kit, "notifications/elicitation/complete", {"elicitationId": "e"})
    assert [one["params"] for one in said.messages] == [
        {"uri": "test://one"},
        {"level": "info", "data": "x"},
        {"elicitationId": "e"},
    ]
    kit.change(standings={})
    kit.door.house_changed()
    assert [one["method"].split("/")[1] for one in said.messages[3:]] == ["tools", "prompts", "resources"]


def test_a_stream_ends_with_its_session_and_that_of_another_session_does_not(kit: Kit) -> None:
    client, other = legacy(kit), legacy(kit)
    mine, theirs = client.follow(), other.follow()
    kit.ask(kit.request(method="DELETE", session=client.session))
    assert (mine.is_over, theirs.is_over) == (True, False)
    assert kit.line.cancelled == [1]


@pytest.mark.threat("T-CROSS")
def test_two_sessions_of_one_client_have_two_scopes(kit: Kit) -> None:
    for client in (legacy(kit), legacy(kit)):
        client.follow()
    assert context(kit.line, 0).scope != context(kit.line, 1).scope


@pytest.mark.threat("T-HIDDEN")
@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("notifications/message", {"level": "info", "data": TAGS}, "content_refused"),
        ("notifications/message", {"level": "loud", "data": "x"}, "plugin_protocol"),
        ("notifications/unknown", {}, "plugin_protocol"),
        (TOOLS, {}, "plugin_protocol"),
        (UPDATED, {"uri": "other://x"}, "plugin_protocol"),
    ],
)
def test_what_may_not_be_said_is_dropped_and_recorded(kit: Kit, method: str, params: Any, code: str) -> None:
    said = legacy(kit).follow()
    tell(kit, method, params)
    assert said.messages == []
    assert (kit.log.kinds[-1], kit.log.entries[-1]["code"]) == ("notes", code)
    tell(kit, "notifications/message", {"level": "info", "data": "x"})
    assert len(said.messages) == 1


def test_only_plugins_that_have_something_to_tell_are_asked(kit: Kit) -> None:
    legacy(kit).follow()
    assert len(kit.line.frames) == 1  # of two plugins
    legacy(kit, target="/p/other/mcp").follow()
    assert len(kit.line.frames) == 1


def test_a_stream_is_of_a_session_that_is_open(kit: Kit) -> None:
    client = legacy(kit)
    nobody = legacy(kit)
    nobody.session = None
    assert nobody.follow().reply.status == 405
    nobody.session = "x" * 40
    assert nobody.follow().reply.status == 404
    thief = legacy(kit, token=kit.ben)
    thief.session = client.session
    assert thief.follow().code == "session_unknown"
    client.headers = {"accept": "application/json"}
    assert client.follow().reply.status == 405
    assert kit.line.frames == []
