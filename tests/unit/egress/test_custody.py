"""What the gate holds is shown to nobody who prints it."""

from __future__ import annotations

from datetime import UTC, datetime

from sekisho.egress.custody import Custody, nothing_held
from sekisho.egress.injection import RANDOM_BYTES, Injection, Planted, placeholder
from sekisho.egress.interception import InterceptionAuthority
from sekisho.policy import SecretGrant, SecretHost, SecretReference


def test_no_value_and_no_key_shows_when_it_is_printed() -> None:
    grant = SecretGrant(
        name="T", reference=SecretReference("env", "T"), hosts=(SecretHost("api.example.com", 443),)
    )
    mark = placeholder(bytes(RANDOM_BYTES)).encode()
    held = Custody(
        injection=Injection([Planted(grant=grant, placeholder=mark, value="hunter2-and-more")]),
        authority=InterceptionAuthority((), datetime.now(UTC)),
        opens_tls=True,
    )
    assert "hunter2" not in repr(held)
    assert "PRIVATE" not in repr(held)


def test_a_plugin_without_secrets_has_no_custody() -> None:
    assert nothing_held() is None
