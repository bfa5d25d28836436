"""What members of batches and posts of the oldest transport have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sekisho.errors import RemoteProtocolError
from sekisho.gateway.passage import Stead, take_word
from sekisho.protocol import BATCHES, ClientNotification, ClientResponse

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit

READY = ClientNotification("notifications/initialized", {})


class Place(Stead):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def answer(self, data: bytes) -> None:
        self.heard.append(data)


def visited(kit: Kit, place: Place, headers: dict[str, str] | None = None) -> tuple[Any, Any]:
    request = kit.request([], headers=headers)
    visit = kit.door._visit(request, place, kit.house)
    visit.client = "aya"
    return visit, request


def test_what_has_no_answer_is_accepted_and_nothing_goes_out_before_it(kit: Kit) -> None:
    place = Place()
    visit, request = visited(kit, place)
    ticket = kit.sessions.open("aya", None, BATCHES, kit.now, frozenset())
    take_word(kit.door, READY, visit, lambda: kit.sessions.find(ticket, "aya", None, kit.now), request)
    assert not place.begin(b"early")
    assert place.admit("anybody")
    assert place.heard == [b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"]
    place.answer_in_parts([b"a large one ", memoryview(b"in parts")])
    assert place.heard[1:] == [b"a large one in parts"]


def test_a_notification_of_the_newer_era_is_refused(kit: Kit) -> None:
    place = Place()
    visit, request = visited(kit, place, {"mcp-protocol-version": kit.modern})
    with pytest.raises(RemoteProtocolError, match="newer era"):
        take_word(kit.door, READY, visit, lambda: pytest.fail("asked"), request)
    assert not place.heard


def test_an_answer_to_what_nobody_asked_is_accepted_without_a_session(kit: Kit) -> None:
    place = Place()
    visit, request = visited(kit, place)
    message = ClientResponse(f"nobody {BATCHES}", {}, None)
    take_word(kit.door, message, visit, lambda: pytest.fail("asked"), request)
    assert place.heard[0].startswith(b"HTTP/1.1 202")
