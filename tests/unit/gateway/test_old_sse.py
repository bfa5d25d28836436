from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sekisho.errors import Refused
from sekisho.gateway import old_sse
from sekisho.gateway.old_sse import INITIALIZE_S, MAX_CALLS
from sekisho.policy import RateRule
from sekisho.protocol import BATCHES, HttpRequest

HELLO = {"protocolVersion": "2024-11-05", "capabilities": {}}
OPEN = {"accept": "text/event-stream"}


class Client:
    """A client of the oldest transport at a house in memory."""

    def __init__(self, kit: Any, *, token: str | None = None, target: str = "/sse") -> None:
        self.kit = kit
        self.token = token or kit.aya
        self.ear = kit.ear()
        self.stream = kit.door.answer(self.get(target), self.ear)
        kit.log.settle()

    def get(self, target: str) -> HttpRequest:
        request: HttpRequest = self.kit.request(method="GET", target=target, token=self.token, headers=OPEN)
        return request

    @property
    def address(self) -> str:
        """Where it is to post."""
        name, data = self.events[0]
        assert name == "endpoint"
        return data

    @property
    def events(self) -> list[tuple[str, str]]:
        text = b"".join(self.ear.pieces).split(b"\r\n\r\n", 1)[1]
        found = []
        while text:
            size, _, text = text.partition(b"\r\n")
            chunk, text = text[: int(size, 16)], text[int(size, 16) + 2 :]
            for one in filter(None, chunk.decode().split("\n\n")):
                name, data = one.split("\n")
                found.append((name.removeprefix("event: "), data.removeprefix("data: ")))
        return found

    @property
    def heard(self) -> list[Any]:
        return [json.loads(data) for name, data in self.events if name == "message"]

    def post(self, message: Any, **fields: Any) -> Any:
        given = {"token": self.token, "target": self.address} | fields
        return self.kit.ask(self.kit.request(message, **given))

    def ask(self, method: str, params: Any = None, number: int | str = 1) -> int:
        status: int = self.post(self.kit.message(method, params, number)).status
        return status

    def notify(self, method: str, params: Any = None) -> int:
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        status: int = self.post(message).status
        return status

    def hello(self) -> None:
        assert self.ask("initialize", HELLO, 0) == 202
        assert self.notify("notifications/initialized") == 202


@pytest.fixture
def client(kit: Any) -> Client:
    kit.rules = replace(kit.rules, serves_old_sse=True)
    return Client(kit)


def code_of(message: Any) -> str:
    return str(message["error"]["data"]["code"])


def test_it_is_off_unless_it_is_wanted(kit: Any) -> None:
    assert kit.ask(kit.request(method="GET", target="/sse", headers=OPEN)).code == "http_not_found"


def test_the_stream_names_an_address_that_nobody_can_guess(client: Client, kit: Any) -> None:
    assert client.address.startswith("/sse/")
    assert len(client.address) >= 32
    assert Client(kit).address != client.address
    assert Client(kit, target="/p/calc/sse").address.startswith("/p/calc/sse/")


def test_answers_come_down_the_stream(client: Client) -> None:
    client.hello()
    assert client.ask("ping", number="p") == 202
    first, second = client.heard
    assert first["result"]["protocolVersion"] == "2024-11-05"
    assert second == {"jsonrpc": "2.0", "id": "p", "result": {}}
    assert client.ear.heard == []


def test_a_call_goes_the_whole_road(client: Client, kit: Any) -> None:
    client.hello()
    client.ask("tools/call", {"name": "calc__add", "arguments": {"a": 1}}, 7)
    assert client.heard[-1].get("id") != 7
    kit.line.reply()
    kit.log.settle()
    assert client.heard[-1]["id"] == 7
    assert client.heard[-1]["result"]["structuredContent"] == {"sum": 3}
    assert kit.log.kinds[-2:] == ["intent", "outcome"]


def test_a_refusal_comes_down_the_stream(client: Client) -> None:
    client.hello()
    assert client.ask("tools/call", {"name": "calc__nothing", "arguments": {}}, 7) == 202
    assert client.heard[-1]["id"] == 7
    assert "error" in client.heard[-1]


def test_nothing_is_served_before_initialize(client: Client) -> None:
    client.ask("tools/list", number=5)
    assert code_of(client.heard[-1]) == "session_required"


def test_a_stream_is_initialized_once(client: Client) -> None:
    client.hello()
    client.ask("initialize", HELLO, 9)
    assert code_of(client.heard[-1]) == "message_invalid"


def test_a_message_of_the_newer_era_is_refused(client: Client, kit: Any) -> None:
    client.hello()
    kit.ask(kit.modern_request("tools/list", target=client.address))
    assert code_of(client.heard[-1]) == "message_invalid"


@pytest.mark.threat("T-CROSS")
def test_posts_need_the_token_of_whoever_opened_the_stream(client: Client, kit: Any) -> None:
    ping = kit.message("ping", None, 1)
    assert client.post(ping, token=None).status == 401
    assert client.post(ping, token=kit.ben).code == "session_unknown"
    another = client.address[:-1] + ("a" if client.address.endswith("_") else "_")
    assert client.post(ping, target=another).code == "session_unknown"
    assert client.post(ping, target="/p/calc" + client.address).code == "session_unknown"
    assert client.post(ping, headers={"origin": "https://evil.example"}).code == "origin_refused"
    client.hello()
    assert client.post(ping).status == 202


def test_the_stream_needs_a_token_and_a_reader(kit: Any, client: Client) -> None:
    ask = kit.ask
    assert ask(kit.request(method="GET", target="/sse", headers=OPEN, token=None)).status == 401
    assert ask(kit.request(method="GET", target="/sse")).status == 405
    assert ask(kit.request(kit.message("ping", None, 1), target="/sse")).status == 405
    assert ask(kit.request(method="GET", target=client.address, headers=OPEN)).status == 405


def test_a_withdrawn_call_ends_at_the_plugin(client: Client, kit: Any) -> None:
    client.hello()
    client.ask("tools/call", {"name": "calc__add", "arguments": {"a": 1}}, 7)
    client.notify("notifications/cancelled", {"requestId": 7})
    kit.log.settle()
    assert kit.line.cancelled == [1]
    assert [one["id"] for one in client.heard] == [0]  # MCP: what was withdrawn is not answered


def test_a_lost_stream_withdraws_its_calls_and_ends_its_session(client: Client, kit: Any) -> None:
    client.hello()
    client.ask("tools/call", {"name": "calc__add", "arguments": {"a": 1}}, 7)
    address = client.address
    client.stream.withdraw(Refused("cancelled", "gone"))
    kit.log.settle()
    assert kit.line.cancelled == [1]
    assert client.post(kit.message("ping", None, 1), target=address).code == "session_unknown"
    kit.door.look(kit.now)


def test_a_stream_that_nobody_initializes_ends(client: Client, kit: Any) -> None:
    kit.door.look(kit.now + INITIALIZE_S)
    assert client.ear.heard == []
    kit.door.look(kit.now + INITIALIZE_S + 1)
    assert client.ear.heard == [b"0\r\n\r\n"]


def test_an_initialized_stream_stays_until_the_house_closes(client: Client, kit: Any) -> None:
    client.hello()
    kit.door.look(kit.now + 2 * INITIALIZE_S)
    assert client.ear.heard == []
    kit.door.close()
    assert client.ear.heard == [b"0\r\n\r\n"]


def test_what_changes_is_told_on_the_stream(client: Client, kit: Any) -> None:
    client.hello()
    kit.change(standings={kit.calc: kit.standing(kit.definitions(kit.calc, kit.erase))})
    kit.door.house_changed()
    assert client.heard[-1]["method"] == "notifications/tools/list_changed"


@pytest.mark.threat("T-FLOOD")
def test_answers_wait_for_a_client_that_lags_and_not_without_end(
    client: Client, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.hello()
    client.ear.keeps_up = False
    client.ask("ping", number=1)
    client.ask("ping", number=2)
    client.ear.keeps_up = True
    kit.door.look(kit.now)
    assert [one["id"] for one in client.heard[-2:]] == [1, 2]
    client.ear.keeps_up = False
    monkeypatch.setattr(old_sse, "MAX_UNREAD_BYTES", 200)
    client.ask("ping", number="a" * 100)
    assert client.ear.heard == []
    client.ask("ping", number="b" * 100)
    assert client.ear.heard == [b"0\r\n\r\n"]


@pytest.mark.threat("T-FLOOD")
def test_calls_of_one_stream_are_bounded(kit: Any, client: Client) -> None:
    kit.road = kit.new_road(max_in_flight=2 * MAX_CALLS)
    kit.change(client_rate=RateRule(per_minute=10_000), standings={kit.calc: fast(kit)})
    kit.door = kit.new_door()
    client = Client(kit)
    client.hello()
    params = {"name": "calc__add", "arguments": {"a": 1}}
    statuses = [client.ask("tools/call", params, number) for number in range(MAX_CALLS + 1)]
    assert statuses == [202] * (MAX_CALLS - 1) + [202, 503]
    kit.line.reply()
    kit.log.settle()
    assert client.ask("tools/call", params, "more") == 202


PING = {"jsonrpc": "2.0", "id": "p", "method": "ping"}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def add(ident: int) -> dict[str, Any]:
    params = {"name": "calc__add", "arguments": {"a": 1}}
    return {"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params}


def open_session(client: Client, revision: str = BATCHES) -> None:
    assert client.ask("initialize", {**HELLO, "protocolVersion": revision}, 0) == 202


def test_a_batch_is_answered_by_one_event_in_the_order_of_its_requests(client: Client, kit: Any) -> None:
    open_session(client)
    assert client.post([add(1), READY, PING, add(2)]).status == 202
    kit.line.reply(number=2)
    kit.log.settle()
    assert len(client.heard) == 1
    kit.line.reply(number=1)
    kit.log.settle()
    assert [one["id"] for one in client.heard[1]] == [1, "p", 2]
    assert client.heard[1][0]["result"]["structuredContent"] == {"sum": 3}
    assert client.ear.heard == []
    kit.change(standings={kit.calc: kit.standing(kit.definitions(kit.calc, kit.erase))})
    kit.door.house_changed()  # the client said in its batch that it is ready
    assert client.heard[-1]["method"] == "notifications/tools/list_changed"


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-06-18"])
def test_a_batch_of_another_revision_is_refused_where_it_is_posted(
    client: Client, kit: Any, revision: str
) -> None:
    assert client.post([PING]).code == "session_required"
    open_session(client, revision)
    refused = client.post([add(1), PING])
    assert (refused.status, refused.code) == (400, "batch_refused")
    assert len(client.heard) == 1
    assert not kit.line.frames


def test_a_batch_without_requests_is_accepted_and_nothing_is_sent(client: Client) -> None:
    open_session(client)
    assert client.post([READY]).status == 202
    assert len(client.heard) == 1


def test_one_call_of_a_batch_is_withdrawn_alone_and_a_lost_stream_withdraws_all(
    client: Client, kit: Any
) -> None:
    open_session(client)
    client.post([add(1), add(2), add(3)])
    client.notify("notifications/cancelled", {"requestId": 2})
    assert kit.line.cancelled == [2]
    client.stream.withdraw(Refused("cancelled", "gone"))
    kit.log.settle()
    assert kit.line.cancelled == [2, 1, 3]


@pytest.mark.threat("T-FLOOD")
def test_batches_count_among_the_calls_of_a_stream(kit: Any, client: Client) -> None:
    kit.road = kit.new_road(max_in_flight=2 * MAX_CALLS)
    kit.change(client_rate=RateRule(per_minute=10_000), standings={kit.calc: fast(kit)})
    kit.door = kit.new_door()
    client = Client(kit)
    open_session(client)
    statuses = [client.post([add(number), PING]).status for number in range(MAX_CALLS + 1)]
    assert statuses == [202] * MAX_CALLS + [503]
    kit.line.reply()
    kit.log.settle()
    assert client.post([add(MAX_CALLS + 1), PING]).status == 202


def fast(kit: Any) -> Any:
    return kit.standing(rate=RateRule(per_minute=10_000))
