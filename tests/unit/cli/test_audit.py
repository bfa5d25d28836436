"""The commands of the audit log, on a log written by the real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.assembly.identities import audit_key
from sekisho.audit import Journal, check_proof, verifier_key
from sekisho.errors import SekishoError
from sekisho.keys import KeyFolder

Type = Callable[..., Any]
ORIGIN = "sekisho.local/audit"


@pytest.fixture
async def log(home: Path) -> Path:
    """A log of five records, closed."""
    path = home / "audit" / "log.jsonl"
    journal = Journal.open(path, audit_key(KeyFolder(home / "keys")), ORIGIN)
    waiting: list[asyncio.Future[None]] = []
    for number in range(5):
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(written)

        def done(problem: SekishoError | None, written: asyncio.Future[None] = written) -> None:
            written.set_exception(problem) if problem else written.set_result(None)

        journal.append(b'{"kind":"test","call":"c%d"}' % number, effect=True, done=done)
    async with asyncio.timeout(20):
        await asyncio.gather(*waiting)
    await journal.close()
    return path


@pytest.mark.requirement("A2.3")
def test_an_intact_log_verifies(typed: Type, log: Path) -> None:
    answer = typed("audit", "verify", "--json")
    assert answer.status == 0
    assert (answer.json["ok"], answer.json["records"], answer.json["signed"]) == (True, 5, 5)
    assert answer.json["problems"] == []
    assert "5 records, 5 signed: intact" in typed("audit", "verify").out


@pytest.mark.requirement("A2.3")
@pytest.mark.threat("T-LOG")
def test_a_changed_record_is_named_and_ends_with_one(typed: Type, log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b'"c2"', b'"c9"'))
    answer = typed("audit", "verify", "--json")
    assert (answer.status, answer.json["ok"]) == (1, False)
    assert {"index": 2, "what": "was changed"} in answer.json["problems"]
    plain = typed("audit", "verify")
    assert plain.status == 1
    assert "ALTERED" in plain.out
    assert "record 2: was changed" in plain.err


@pytest.mark.threat("T-LOG")
def test_a_cut_log_is_noticed(typed: Type, log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    assert typed("audit", "verify", "--json").status == 1


def test_a_stranger_verifies_with_the_verifier_key_alone(
    typed: Type, log: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "log.pub"
    key.write_text(verifier_key(ORIGIN, audit_key(KeyFolder(home / "keys")).public_key()) + "\n")
    Path("sekisho.toml").write_text(f'[audit]\nlog_file = "{log}"\n')
    monkeypatch.setenv("SEKISHO_HOME", str(tmp_path / "stranger"))
    assert typed("audit", "verify", "--key", str(key), "--json").json["ok"]
    answer = typed("audit", "verify", "--json")
    assert (answer.status, answer.error["code"]) == (1, "key_unavailable")
    assert not (tmp_path / "stranger").exists()


@pytest.mark.parametrize("text", ["", "no key", "a+b+c"])
def test_what_is_no_verifier_key_is_refused(typed: Type, log: Path, tmp_path: Path, text: str) -> None:
    key = tmp_path / "log.pub"
    key.write_text(text)
    answer = typed("audit", "verify", "--key", str(key))
    assert answer.status in (1, 2)
    assert "fault of sekisho" not in answer.err
    assert typed("audit", "verify", "--key", str(tmp_path / "none")).status == 1


def test_a_log_without_protection_cannot_be_verified(typed: Type, home: Path) -> None:
    Path("sekisho.toml").write_text("[audit]\ntamper_protection = false\n")
    answer = typed("audit", "verify", "--json")
    assert (answer.status, answer.error["code"]) == (1, "log_tampered")


def test_the_last_records_are_printed(typed: Type, log: Path) -> None:
    assert [one["call"] for one in typed("audit", "tail", "-n", "2", "--json").json["records"]] == [
        "c3",
        "c4",
    ]
    assert typed("audit", "tail", "--lines", "1").out == "n=4 kind=test call=c4\n"
    assert len(typed("audit", "tail").out.splitlines()) == 5


def test_a_log_that_is_not_there_is_said_so(typed: Type, home: Path) -> None:
    assert typed("audit", "tail", "--json").error["code"] == "log_unavailable"


@pytest.mark.requirement("A2.3")
def test_a_proof_convinces_without_the_log(typed: Type, log: Path, home: Path) -> None:
    answer = typed("audit", "prove", "3", "--json").json
    key = audit_key(KeyFolder(home / "keys")).public_key()
    assert check_proof(answer["proof"], answer["record"].encode(), key).size == 5
    assert typed("audit", "prove", "3").out == answer["proof"]


def test_a_record_that_is_not_there_has_no_proof(typed: Type, log: Path) -> None:
    assert typed("audit", "prove", "5").status == 1


@pytest.mark.requirement("A2.3")
def test_an_export_stands_for_itself(typed: Type, log: Path, tmp_path: Path) -> None:
    answer = typed("audit", "export", str(tmp_path / "out"), "--json")
    assert (answer.status, answer.json["records"], answer.json["origin"]) == (0, 5, ORIGIN)
    assert (tmp_path / "out/tile/entries/000.p/5").is_file()
    assert (tmp_path / "out/tile/0/000.p/5").stat().st_size == 5 * 32
    assert (tmp_path / "out/checkpoint").is_file()
    assert "5 records of" in typed("audit", "export", str(tmp_path / "again")).out
    assert typed("audit", "export", str(tmp_path / "out")).status == 1


@pytest.mark.threat("T-LOG")
def test_a_changed_log_is_not_exported(typed: Type, log: Path, tmp_path: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b'"c2"', b'"c9"'))
    answer = typed("audit", "export", str(tmp_path / "out"), "--json")
    assert (answer.status, answer.error["code"]) == (1, "log_tampered")
    assert not (tmp_path / "out/checkpoint").exists()
