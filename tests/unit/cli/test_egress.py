"""`egress log` and `egress propose` print what the ledger says; `egress` alone is still the process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.egress import EgressEvent
from sekisho.egress.ledger import Ledger

Type = Callable[..., Any]


@pytest.fixture
def ledger(home: Path) -> Ledger:
    return Ledger(home / "egress" / "notes.jsonl", lambda: 1.9e9)


def event(host: str, *, allowed: bool = True, is_learned: bool = False) -> EgressEvent:
    return EgressEvent(
        plugin="notes",
        kind="tls",
        host=host,
        port=443,
        allowed=allowed,
        reason="" if allowed else "the host or port is not on the allow-list",
        bytes=1234,
        is_learned=is_learned,
    )


def test_what_went_out_and_what_was_refused_is_listed(typed: Type, ledger: Ledger) -> None:
    ledger.write(event("api.example.com"))
    ledger.write(event("evil.example", allowed=False))
    answer = typed("egress", "log", "notes", "--json")
    assert answer.status == 0
    assert [(one["host"], one["allowed"]) for one in answer.json["events"]] == [
        ("api.example.com", True),
        ("evil.example", False),
    ]
    shown = typed("egress", "log", "notes").out
    assert "passed" in shown
    assert "REFUSED" in shown
    only = typed("egress", "log", "notes", "--refused", "--json").json["events"]
    assert [one["host"] for one in only] == ["evil.example"]
    assert len(typed("egress", "log", "notes", "-n", "1", "--json").json["events"]) == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_a_log_that_is_followed_goes_on_until_it_is_interrupted(
    home: Path, ledger: Ledger, as_json: bool
) -> None:
    ledger.write(event("before.example", allowed=False))
    words = ["egress", "log", "notes", "--follow", "--refused", "--config", str(home.parent / "sekisho.toml")]
    # whoever runs us in the background may have us ignore interrupts, and children inherit that
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; import sys; from sekisho.cli.app import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, *words, *(["--json"] if as_json else [])],
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        try:
            assert reader.stdout is not None
            assert "before.example" in reader.stdout.readline()
            ledger.write(event("passed.example"))
            ledger.write(event("after.example", allowed=False))
            line = reader.stdout.readline()
            assert "after.example" in line
            assert not as_json or json.loads(line)["allowed"] is False
            if as_json:
                reader.stdout.close()  # as head does
            else:
                reader.send_signal(signal.SIGINT)
            assert reader.wait(20) == (0 if as_json else 130)
        finally:
            reader.kill()


def test_an_empty_ledger_is_said(typed: Type, home: Path) -> None:
    del home
    assert "nothing was asked" in typed("egress", "log", "notes").err
    assert "nothing was learned" in typed("egress", "propose", "notes").err
    assert typed("egress", "propose", "notes", "--json").json["allowed_domains"] == []


def test_the_proposal_is_a_table_to_paste(typed: Type, ledger: Ledger) -> None:
    ledger.write(event("api.example.com", is_learned=True))
    ledger.write(event("other.example"))
    answer = typed("egress", "propose", "notes")
    table = tomllib.loads(answer.out)["plugins"]["servers"]["network_policy"]
    assert table == {"mode": "enforce", "allowed_domains": ["api.example.com"], "allowed_ports": [443]}


@pytest.mark.parametrize("command", ["log", "propose"])
def test_a_plugin_that_learns_is_warned_of_everywhere(typed: Type, home: Path, command: str) -> None:
    path = home.parent / "sekisho.toml"
    learning = 'allowed_operations = ["add"]\nnetwork_policy = { mode = "learn" }'
    path.write_text(path.read_text().replace('allowed_operations = ["add"]', learning))
    for words in (("egress", command, "notes"), ("plugins",)):
        assert 'mode = "learn"' in typed(*words).err
    assert any("mode = learn" in one for one in typed("config", "check", "--json").json["warnings"])


def test_a_mistyped_name_is_answered_with_the_names_there_are(typed: Type, home: Path) -> None:
    del home
    answer = typed("egress", "log", "nots", "--json")
    assert answer.status == 2
    assert "notes" in answer.error["message"]


@pytest.mark.parametrize(("mode", "advice"), [("enforce", 'mode = "learn"'), ("learn", "egress log notes")])
def test_where_nothing_was_learned_the_next_step_is_one_not_taken_yet(
    typed: Type, home: Path, mode: str, advice: str
) -> None:
    text = Path("sekisho.toml").read_text()
    Path("sekisho.toml").write_text(
        text.replace('["add"]', f'["add"]\nnetwork_policy = {{ mode = "{mode}" }}')
    )
    (remedy,) = [line for line in typed("egress", "propose", "notes").err.splitlines() if line[:1] == "→"]
    assert advice in remedy


def test_a_machine_with_a_plugin_file_reads_its_own_ledger(typed: Type, ledger: Ledger) -> None:
    Path("notes.toml").write_text(
        '[plugin_server]\nname = "notes"\nbind_addr = "127.0.0.1:8443"\ncommand = ["/bin/cat"]\n'
        'tls_cert_path = "/c"\ntls_key_path = "/k"\ncore_server_url = "https://core:8080"\n'
        '[network_policy]\nmode = "learn"\n'
    )
    ledger.write(event("api.example.com", is_learned=True))
    answer = typed("egress", "log", "notes", "--json", "--config", "notes.toml")
    assert [one["host"] for one in answer.json["events"]] == ["api.example.com"]
    proposed = tomllib.loads(typed("egress", "propose", "notes", "--config", "notes.toml").out)
    assert proposed["network_policy"]["allowed_domains"] == ["api.example.com"]
