"""Where a secret's value comes from, and how a missing one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.credentials.references import KEYRING_VARIABLES, read_reference, variables_of
from sekisho.errors import Misconfigured
from sekisho.policy import SecretReference

VALUE = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"


def _private(path: Path, data: bytes = VALUE.encode() + b"\n") -> Path:
    path.touch(0o600)
    path.write_bytes(data)
    return path


def _read(text: str, **environment: str) -> str:
    return read_reference(SecretReference.parse(text), environment)


def _refused(text: str, **environment: str) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        _read(text, **environment)
    assert caught.value.code == "key_unavailable"
    assert VALUE not in str(caught.value)
    assert VALUE not in repr(caught.value.__cause__)
    return caught.value


def test_a_value_comes_from_each_place(tmp_path: Path) -> None:
    assert _read("env:TOKEN", TOKEN=VALUE) == VALUE
    assert _read("file:" + str(_private(tmp_path / "token"))) == VALUE
    assert _read("credential:token", CREDENTIALS_DIRECTORY=str(tmp_path)) == VALUE
    ring = {("github", "me/two"): VALUE}
    reference = SecretReference.parse("keyring:github/me/two")
    assert read_reference(reference, {}, keyring=lambda *entry: ring.get(entry)) == VALUE


def test_a_key_of_several_lines_keeps_them_and_loses_only_the_last_break(tmp_path: Path) -> None:
    assert _read("file:" + str(_private(tmp_path / "a", b"one\ntwo\n"))) == "one\ntwo"
    assert _read("file:" + str(_private(tmp_path / "b", b"one\r\n"))) == "one"
    assert _read("file:" + str(_private(tmp_path / "c", b" one "))) == " one "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_file_that_others_may_touch_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int
) -> None:
    path = _private(tmp_path / "token")
    path.chmod(mode)
    problem = _refused(f"file:{path}")
    assert "read by others" in problem.message
    assert f"chmod 600 {path}" in problem.remedy
    path.chmod(0o400)
    assert _read(f"file:{path}") == VALUE


def test_what_is_missing_empty_or_no_text_is_refused_with_a_remedy(tmp_path: Path) -> None:
    assert "set TOKEN" in _refused("env:TOKEN").remedy
    assert "set TOKEN" in _refused("env:TOKEN", TOKEN="").remedy
    absent = _refused(f"file:{tmp_path / 'absent'}")
    assert absent.message == f"there is no value at file:{tmp_path / 'absent'}"
    assert absent.remedy.startswith("write the secret into ")
    assert "no value" in _refused("file:" + str(_private(tmp_path / "empty", b"\n"))).message
    assert "not text" in _refused("file:" + str(_private(tmp_path / "odd", VALUE.encode() + b"\xff"))).message
    assert "NUL" in _refused("file:" + str(_private(tmp_path / "nul", VALUE.encode() + b"\0"))).message
    _refused(f"file:{tmp_path}")


def test_a_credential_without_systemd_is_told_as_that(tmp_path: Path) -> None:
    assert "systemd" in _refused("credential:token").message
    assert "systemd" in _refused("credential:token", CREDENTIALS_DIRECTORY="relative").message
    absent = _refused("credential:token", CREDENTIALS_DIRECTORY=str(tmp_path))
    assert (absent.message, "LoadCredential=token" in absent.remedy) == (
        "there is no value at credential:token",
        True,
    )


def test_an_entry_that_the_keyring_has_not_is_told_with_the_command_that_stores_it() -> None:
    with pytest.raises(Misconfigured) as caught:
        read_reference(SecretReference.parse("keyring:github/me"), {}, keyring=lambda *_entry: None)
    assert "keyring set github me" in caught.value.remedy


def test_a_process_gets_the_variables_its_references_need_and_no_others() -> None:
    assert variables_of(()) == frozenset()
    references = tuple(map(SecretReference.parse, ("env:A", "file:/b", "credential:c")))
    assert variables_of(references) == {"A", "CREDENTIALS_DIRECTORY"}
    assert variables_of((SecretReference.parse("keyring:a/b"),)) == set(KEYRING_VARIABLES)
