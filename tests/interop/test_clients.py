"""Real clients in front of the gateway, each in its own process and environment, with a bearer token over HTTPS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.interop.estate import Estate
from tests.interop.subjects import Client

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

Report = Callable[[Client], dict[str, Any]]


def step(found: dict[str, Any], name: str) -> Any:
    """The outcome of one step; the client's own words when there is none."""
    assert name in found, found["errors"]
    return found[name]


def test_a_client_ends_up_with_its_revision(client: Client, report: Report) -> None:
    found = report(client)
    if client.revision:
        assert step(found, "revision") == client.revision


def test_a_client_lists_every_tool(client: Client, report: Report, estate: Estate) -> None:
    listed = step(report(client), "tools")
    assert sorted(listed) == sorted(tool["name"] for tool in estate.said["everything"].of("tools"))


def test_a_client_calls_a_tool(client: Client, report: Report) -> None:
    assert "Echo: through the gate" in step(report(client), "call")


def test_a_client_hears_all_progress_in_order(client: Client, report: Report) -> None:
    if client.progress:
        assert step(report(client), "progress") == [1, 2, 3, 4]


def test_a_client_is_asked_and_its_answer_reaches_the_server(client: Client, report: Report) -> None:
    if client.elicitation:
        assert "Name: Barrier Keeper" in step(report(client), "elicitation")
