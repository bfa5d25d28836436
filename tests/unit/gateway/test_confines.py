"""Roots at the gate: what a call names lies within them, or the call does not leave."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.gateway.conftest import NOW, Kit
from tests.unit.gateway.offering import everything, house_of, offering

from sekisho.errors import Refused
from sekisho.gateway.caller import Extras
from sekisho.gateway.checkpoint import judge
from sekisho.gateway.confines import keep_answer_within, keep_call_within
from sekisho.gateway.stages import Arrived, Call
from sekisho.keys import Principal
from sekisho.policy import Root, RootRules
from sekisho.protocol import PluginName

SITE = PluginName("site")
ROOTS = RootRules(
    (
        Root(uri="file:///app/trusted", name="", read=True),
        Root(uri="https://api.example.com", name="", reaches=(("api.example.com", 443),)),
    )
)
FETCH = {
    "name": "fetch",
    "inputSchema": {"type": "object", "properties": {"where": {"type": "string", "format": "uri"}}},
}


@pytest.fixture
def site(kit: Kit) -> Kit:
    """A plugin that offers everything, and has roots."""
    offered = offering(
        "site",
        tools=[FETCH],
        prompts=["summary"],
        resources=["memo://1", "https://api.example.com/x", "file:///etc/passwd"],
        templates=["file:///{+path}"],
    )
    kit.house = house_of(kit.house, offered, rules=[everything("aya", "site", "fetch")])
    standing = replace(kit.house.standings[SITE], roots=ROOTS)
    kit.change(standings={SITE: standing})
    return kit


def code(
    kit: Kit, tool: str, parsed: dict[str, Any], *, target: str = "", extras: Extras | None = None
) -> str:
    call = Call.of("c1", SITE, tool, parsed, target=target)
    if extras is not None:
        call = call.carrying(extras)
    return kit.code(judge(Arrived(call, Principal(client="aya"), NOW), kit.house))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("https://api.example.com/x", "ok"),
        ("https://evil.example/x", "root_refused"),
        ("evil.example", "root_refused"),
        ("memo://1", "ok"),
        ("memo://2", "root_refused"),
    ],
)
def test_the_arguments_of_a_tool_stay_within_the_roots(site: Kit, where: str, expected: str) -> None:
    assert code(site, "fetch", {"where": where}) == expected


def test_arguments_that_the_schema_does_not_name_are_judged_too(site: Kit) -> None:
    assert code(site, "fetch", {"note": "and/or"}) == "ok"
    assert code(site, "fetch", {"note": "/etc/motd.d"}) == "root_refused"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("memo://1", "ok"),
        ("https://api.example.com/x", "ok"),
        ("file:///app/trusted/x", "ok"),
        ("file:///etc/passwd", "root_refused"),
        ("file:///app/trusted/../../etc/motd", "root_refused"),
    ],
)
@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe"])
def test_a_resource_outside_the_roots_is_not_read(site: Kit, method: str, uri: str, expected: str) -> None:
    assert code(site, method, {"uri": uri}, target=uri) == expected


def test_a_stream_is_not_told_of_a_resource_outside(site: Kit) -> None:
    def listen(uri: str) -> str:
        asked = {"notifications": {"resourceSubscriptions": [uri]}}
        return code(site, "subscriptions/listen", asked, target="x")

    assert listen("memo://1") == "ok"
    assert listen("file:///etc/passwd") == "root_refused"


def test_what_completes_a_template_stays_within(site: Kit) -> None:
    def complete(value: str) -> str:
        ref = {"type": "ref/resource", "uri": "file:///{+path}"}
        parsed = {"ref": ref, "argument": {"name": "path", "value": value}}
        return code(site, "completion/complete", parsed, target="file:///{+path}")

    assert complete("app") == "ok"
    assert complete("/etc/pa") == "root_refused"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"action": "accept", "content": {"file": "/app/trusted/x"}}, "ok"),
        ({"action": "accept", "content": {"file": "/etc/passwd.d"}}, "root_refused"),
        ({"roots": [{"uri": "file:///home/aya"}]}, "ok"),
    ],
)
def test_a_persons_answer_stays_within_the_roots(site: Kit, answer: dict[str, Any], expected: str) -> None:
    extras = Extras(input_responses=json.dumps({"q": answer}).encode())
    assert code(site, "fetch", {}, extras=extras) == expected


def test_an_answer_to_a_tasks_question_stays_within_the_roots(site: Kit) -> None:
    standing = site.house.standings[SITE]
    assert standing.roots is not None
    assert standing.definitions is not None

    def update(file: str) -> Call:
        answers = {"q": {"action": "accept", "content": {"file": file}}}
        parsed: dict[str, Any] = {"taskId": "t", "inputResponses": answers}
        return Call.of("c1", SITE, "tasks/update", parsed, target="fetch")

    keep_call_within(standing.roots, standing.definitions, update("/app/trusted/x"), None)
    with pytest.raises(Refused):
        keep_call_within(standing.roots, standing.definitions, update("/etc/motd"), None)


def test_what_a_person_answers_to_a_plugin_stays_within_the_roots(site: Kit) -> None:
    roots = site.house.standings[SITE].roots
    keep_answer_within(roots, {"content": {"file": "/app/trusted/x"}})
    keep_answer_within(roots, {"content": {"note": "and/or"}})
    keep_answer_within(roots, {"action": "decline"})
    keep_answer_within(roots, {"roots": [{"uri": "file:///home/you"}]})
    keep_answer_within(roots, None)
    keep_answer_within(None, {"content": {"file": "/etc/motd"}})
    with pytest.raises(Refused):
        keep_answer_within(roots, {"content": {"file": "/etc/motd"}})


def test_a_plugin_without_roots_is_judged_as_before(site: Kit) -> None:
    site.change(standings={SITE: replace(site.house.standings[SITE], roots=None)})
    assert code(site, "fetch", {"where": "https://elsewhere.example/x"}) == "ok"
