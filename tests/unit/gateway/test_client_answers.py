"""What a legacy client answers reaches the call that asked, judged and recorded; anything else leads nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sekisho.policy import RateRule

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit


def test_a_response_of_the_client_is_accepted_and_leads_nowhere(kit: Kit) -> None:
    assert kit.ask(kit.request({"jsonrpc": "2.0", "id": 1, "result": {}})).status == 202
    assert kit.line.frames == []


@pytest.mark.threat("T-FLOOD")
def test_answers_to_questions_count_like_calls_and_others_cost_nothing(kit: Kit) -> None:
    session = kit.open_session()
    kit.change(client_rate=RateRule(per_minute=2))

    def post(ident: str) -> int:
        message = {"jsonrpc": "2.0", "id": ident, "result": {"action": "cancel"}}
        return kit.ask(kit.request(message, session=session)).status

    assert [post("nobody asked this") for _ in range(5)] == [202] * 5
    assert [post("calc:elicitation:q1") for _ in range(3)] == [202, 202, 429]
