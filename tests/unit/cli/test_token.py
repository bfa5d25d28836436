"""Tokens are shown to the person who asks, and replaced whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.errors import Refused
from sekisho.keys import KeyFolder, load_token_book

Type = Callable[..., Any]


def test_a_token_that_was_never_made_is_not_made_by_looking(typed: Type, home: Path) -> None:
    answer = typed("token", "show", "--json")
    assert (answer.status, answer.error["code"]) == (1, "key_unavailable")
    assert not home.exists()


def test_the_token_is_printed_alone_so_that_a_script_can_take_it(typed: Type, home: Path) -> None:
    made = typed("token", "rotate", "--json").json
    answer = typed("token", "show")
    assert answer.out == made["token"] + "\n"
    assert made["token_file"] in answer.err
    assert made["client"] == "owner"
    assert Path(made["token_file"]).stat().st_mode & 0o777 == 0o600


@pytest.mark.threat("T-NOTOKEN")
def test_after_a_rotation_the_old_token_opens_nothing(typed: Type, home: Path) -> None:
    old = typed("token", "rotate", "--json").json["token"]
    new = typed("token", "rotate", "--json").json["token"]
    book = load_token_book(KeyFolder(home / "keys"))
    assert book.identify(f"Bearer {new}") == "owner"
    with pytest.raises(Refused):
        book.identify(f"Bearer {old}")


FULL = """
import resource, sys
from sekisho.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.exit(main(["token", "rotate"]))
"""


def test_the_old_token_stays_where_there_is_no_room_for_a_new_one(typed: Type, home: Path) -> None:
    old = typed("token", "rotate", "--json").json["token"]
    full = subprocess.run(
        [sys.executable, "-c", FULL], capture_output=True, text=True, timeout=30, check=False
    )
    assert full.returncode == 1
    assert full.stderr.endswith("→ free space there, then type it again\n")
    assert typed("token", "show").out == old + "\n"
    assert load_token_book(KeyFolder(home / "keys")).identify(f"Bearer {old}") == "owner"


def test_each_client_has_its_own_token(typed: Type, home: Path) -> None:
    tokens = {typed("token", "rotate", "--client", name, "--json").json["token"] for name in ("owner", "ide")}
    assert len(tokens) == 2
    book = load_token_book(KeyFolder(home / "keys"))
    assert {book.identify(f"Bearer {token}") for token in tokens} == {"owner", "ide"}


@pytest.mark.parametrize("name", ["../ca", "a/b", "", "a.b"])
@pytest.mark.parametrize("command", ["show", "rotate"])
def test_a_clients_name_is_no_path(typed: Type, home: Path, command: str, name: str) -> None:
    assert typed("token", command, "--client", name).status == 2
