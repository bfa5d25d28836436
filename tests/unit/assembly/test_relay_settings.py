from __future__ import annotations

import json

import msgspec
import pytest

from sekisho.assembly.relay_requests import Asked, Sender
from sekisho.assembly.relay_settings import MAX_SETTINGS, SessionSettings


class Wire:
    def send(self, message: bytes) -> None:
        raise AssertionError(message)

    def has_room(self) -> bool:
        return True

    def withdraw(self, ident: int | str) -> None:
        raise AssertionError(ident)


def asked(method: str, **params: str) -> Asked:
    wire: Sender = Wire()
    return Asked(method, b"", msgspec.Raw(json.dumps(params).encode()), wire, is_modern=False)


def test_the_latest_level_and_open_subscriptions_are_kept() -> None:
    settings = SessionSettings()
    for one in (
        asked("logging/setLevel", level="info"),
        asked("resources/subscribe", uri="a://a"),
        asked("resources/subscribe", uri="a://b"),
        asked("logging/setLevel", level="error"),
        asked("resources/unsubscribe", uri="a://a"),
        asked("tools/call", name="t"),
    ):
        settings.succeeded(one)
    kept = [(method, json.loads(params)) for method, params in settings]
    assert kept == [("logging/setLevel", {"level": "error"}), ("resources/subscribe", {"uri": "a://b"})]
    settings.clear()
    assert list(settings) == []


@pytest.mark.threat("T-FLOOD")
def test_settings_are_bounded_in_number_and_size() -> None:
    settings = SessionSettings()
    settings.succeeded(asked("resources/subscribe", uri="a://" + "x" * (8 << 10)))
    assert list(settings) == []
    for number in range(MAX_SETTINGS + 10):
        settings.succeeded(asked("resources/subscribe", uri=f"a://{number}"))
    assert len(list(settings)) == MAX_SETTINGS
