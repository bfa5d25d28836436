"""`doctor` reports each wall, and its status is the worst of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Type = Callable[..., Any]


@pytest.mark.real
def test_every_row_says_what_was_tried_and_how_to_mend_it(typed: Type) -> None:
    answer = typed("doctor", "--json")
    rows = answer.json["rows"]
    assert rows
    assert all(set(row) == {"what", "ok", "detail", "fix", "needed"} for row in rows)
    assert all(row["fix"] for row in rows if not row["ok"])
    assert answer.json["ok"] == all(row["ok"] for row in rows if row["needed"])
    assert answer.status == (0 if answer.json["ok"] else 1)
    names = [row["what"] for row in rows]  # the table has the same ones
    lines = typed("doctor").out.splitlines()[1:]
    assert [line[: len(name)] for line, name in zip(lines, names, strict=True)] == names


def test_a_core_file_that_cannot_be_read_is_a_row(typed: Type, tmp_path: Any) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[auth]\nissuers = 1\n")
    rows = typed("doctor", "--json", "--config", str(wrong)).json["rows"]
    (row,) = [one for one in rows if one["what"] == "configuration"]
    assert not row["ok"]
    assert row["fix"]


def test_a_plugin_file_asks_for_no_authorization_server(typed: Type, tmp_path: Path) -> None:
    file = tmp_path / "notes.toml"
    file.write_text(
        '[plugin_server]\nname = "notes"\nbind_addr = "127.0.0.1:8443"\ncommand = ["/bin/cat"]\n'
        'tls_cert_path = "/c"\ntls_key_path = "/k"\ncore_server_url = "https://core:8080"\n'
    )
    rows = typed("doctor", "--json", "--config", str(file)).json["rows"]
    assert "configuration" not in [one["what"] for one in rows]


def test_issuers_of_the_core_file_are_rows(typed: Type, tmp_path: Any) -> None:
    file = tmp_path / "issuers.toml"
    file.write_text(
        '[auth]\nresource = "https://gate.example.com"\n[[auth.issuers]]\nname = "corp"\n'
        'issuer = "http://127.0.0.1:1"\n'  # nobody listens there
    )
    rows = {one["what"]: one for one in typed("doctor", "--json", "--config", str(file)).json["rows"]}
    assert not rows["issuer corp"]["ok"]
    assert not rows["auth.resource"]["ok"]


def test_the_apparmor_profile_is_printed_alone_so_that_it_can_be_piped(typed: Type) -> None:
    answer = typed("doctor", "--apparmor-profile")
    assert answer.status == 0
    assert "profile sekisho flags=(unconfined)" in answer.out
    assert "userns," in answer.out
    assert "what" not in answer.out.split("\n")[0].split()
