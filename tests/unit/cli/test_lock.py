"""`lock verify` notices an edited lock file and edited definitions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Type = Callable[..., Any]
Listed = Callable[[str], str]


def test_nothing_approved_is_no_failure(typed: Type, home: Path) -> None:
    answer = typed("lock", "verify", "--json")
    assert answer.status == 0
    assert answer.json == {"ok": True, "lock": str(home.parent / "sekisho.lock"), "plugins": []}
    assert "approves nothing" in typed("lock", "verify").err


def test_a_good_lock_file_is_listed(typed: Type, home: Path, listed: Listed) -> None:
    root = listed("adds a note")
    typed("approve", "notes", "--yes")
    (row,) = typed("lock", "verify", "--json").json["plugins"]
    assert (row["plugin"], row["root"], row["stored"], row["approved_by"]) == (
        "notes",
        root,
        "present",
        "aki",
    )
    assert "as written" in typed("lock", "verify").out


@pytest.mark.threat("T-RUGPULL")
@pytest.mark.parametrize(
    ("old", "new"), [("aki", "eve"), ("sha256:", "sha256:0"), ("/bin/echo", "/bin/evil")]
)
def test_an_edited_lock_file_is_refused(typed: Type, home: Path, listed: Listed, old: str, new: str) -> None:
    listed("adds a note")
    typed("approve", "notes", "--yes")
    path = home.parent / "sekisho.lock"
    path.write_text(path.read_text().replace(old, new, 1))
    answer = typed("lock", "verify", "--json")
    assert (answer.status, answer.error["code"]) == (1, "lock_invalid")


@pytest.mark.threat("T-RUGPULL")
def test_edited_definitions_are_noticed(typed: Type, home: Path, listed: Listed) -> None:
    root = listed("adds a note")
    typed("approve", "notes", "--yes")
    path = home / "registry" / "notes" / "surfaces" / f"{root.removeprefix('sha256:')}.json"
    path.write_bytes(path.read_bytes().replace(b"adds", b"eats"))
    answer = typed("lock", "verify", "--json")
    assert answer.status == 1
    assert answer.json["plugins"][0]["stored"] == "altered"
    assert "does not agree" in typed("lock", "verify").out


def test_definitions_that_are_not_on_this_machine_are_named_absent(
    typed: Type, home: Path, listed: Listed
) -> None:
    listed("adds a note")
    typed("approve", "notes", "--yes")
    for path in (home / "registry" / "notes" / "surfaces").iterdir():
        path.unlink()
    answer = typed("lock", "verify", "--json")
    assert answer.status == 0
    assert answer.json["plugins"][0]["stored"] == "absent"
