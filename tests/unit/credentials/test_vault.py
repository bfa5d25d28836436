from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.credentials.vault import MAX_ISSUERS, Client, Held, Tokens, Vault
from sekisho.errors import Misconfigured, Tampered
from sekisho.keys import KeyFolder

HELD = Held(
    issuer="https://a.example", tokens={"https://a.example": Tokens(access="very-secret", refresh="r")}
)


def _vault(folder: Path, plugin: str = "notes") -> Vault:
    return Vault(folder / "credentials", plugin, KeyFolder(folder / "keys"))


def test_nothing_is_held_before_the_first_login(tmp_path: Path) -> None:
    assert _vault(tmp_path).read() == Held()


def test_what_was_written_is_read_by_another_process_of_the_same_plugin(tmp_path: Path) -> None:
    _vault(tmp_path).write(HELD)
    assert _vault(tmp_path).read() == HELD


def test_the_file_is_private_and_shows_no_secret(tmp_path: Path) -> None:
    _vault(tmp_path).write(HELD)
    path = tmp_path / "credentials" / "notes.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert b"secret" not in path.read_bytes()


def test_another_plugins_file_does_not_open(tmp_path: Path) -> None:
    _vault(tmp_path).write(HELD)
    folder = tmp_path / "credentials"
    (folder / "notes.json").rename(folder / "other.json")
    with pytest.raises(Tampered):
        _vault(tmp_path, "other").read()


@pytest.mark.parametrize("at", [12, 60, -10])
def test_a_changed_byte_is_noticed(tmp_path: Path, at: int) -> None:
    vault = _vault(tmp_path)
    vault.write(HELD)
    path = tmp_path / "credentials" / "notes.json"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(Tampered):
        vault.read()


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    vault = _vault(tmp_path)
    vault.write(HELD)
    (tmp_path / "credentials" / "notes.json").chmod(0o644)
    with pytest.raises(Misconfigured):
        vault.read()


def test_a_write_changes_the_stamp(tmp_path: Path) -> None:
    vault = _vault(tmp_path)
    assert vault.stamp() == 0
    vault.write(HELD)
    first = vault.stamp()
    os.utime(tmp_path / "credentials" / "notes.json", ns=(1, 1))
    assert first != vault.stamp() == 1


def test_turns_are_taken(tmp_path: Path) -> None:
    vault = _vault(tmp_path)
    with vault.turn():
        vault.write(HELD)
    with vault.turn():
        assert vault.read() == HELD


def test_tokens_of_one_issuer_are_not_those_of_another() -> None:
    held = HELD.with_tokens("https://b.example", Tokens(access="other"))
    assert held.current == Tokens(access="other")
    assert held.tokens["https://a.example"].access == "very-secret"
    assert (
        held.with_client("https://b.example", Client(client_id="x")).clients["https://b.example"].client_id
        == "x"
    )


@given(st.lists(st.text(max_size=3), max_size=40))
def test_the_newest_issuers_are_kept(issuers: list[str]) -> None:
    held = Held()
    for issuer in issuers:
        held = held.with_tokens(issuer, Tokens(access=issuer or "x")).with_client(
            issuer, Client(client_id="c")
        )
        assert held.current is not None
    assert max(len(held.tokens), len(held.clients)) <= MAX_ISSUERS


def test_nothing_secret_shows_when_printed() -> None:
    assert "secret" not in repr(HELD)
    assert "secret" not in repr(Client(client_id="a", secret="secret"))
