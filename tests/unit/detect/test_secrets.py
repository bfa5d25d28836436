"""Secrets are known by their issuer's shape; neighbours of that shape are not secrets."""

from __future__ import annotations

import pytest
from tests.unit.detect.judging import SCANNER, argument, nested, result

from sekisho.detect import Place, Severity
from sekisho.detect.secrets import SECRETS

BODY = "Zk3vQ9xT7mB2pL5wR8nJ4hY6cD1fG0sVaEoUiKbNtMzXqWrPyHg"


def met(data: bytes, place: Place = Place.RESULTS) -> tuple[str, ...]:
    """The rules a text meets."""
    return SCANNER.scan(data, place).rule_ids


@pytest.mark.parametrize("wrap", [result, nested], ids=["text", "json in text"])
@pytest.mark.parametrize("rule", SECRETS, ids=lambda rule: rule.id)
def test_a_secret_is_found_at_any_level(rule: object, wrap: object) -> None:
    assert rule.id in met(wrap(f"token: {rule.harmful}\nend"))  # type: ignore[attr-defined, operator]  # parametrised


def test_only_private_keys_and_our_own_tokens_refuse() -> None:
    assert {rule.id for rule in SECRETS if rule.severity is Severity.REFUSE} == {
        "secrets.private_key",
        "secrets.sekisho_token",
    }


@pytest.mark.parametrize(
    "text",
    [
        "550e8400-e29b-41d4-a716-446655440000",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "password = hunter2",
        BODY,
        "data:image/png;base64," + BODY * 4,
        "sk-learn is installed, sk-1, task-" + BODY[:43],
    ],
)
def test_what_only_looks_random_is_left_alone(text: str) -> None:
    assert met(result(text)) == ()
    assert met(argument(text), Place.ARGUMENTS) == ()


def test_our_own_token_is_found_as_it_is_made() -> None:
    assert met(argument("task-sk-" + BODY[:43]), Place.ARGUMENTS) == ()  # part of a longer word
    assert met(argument("Bearer sk-" + BODY[:43]), Place.ARGUMENTS) == ("secrets.sekisho_token",)
