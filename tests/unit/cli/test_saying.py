"""What is printed is text, on the right stream, in one of two forms."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.cli.saying import as_line, as_text, columns, note, say, say_error, say_json, say_trouble
from sekisho.errors import Refused


def test_results_and_diagnostics_go_different_ways(capsys: pytest.CaptureFixture[str]) -> None:
    say(["a", "b"])
    note("c")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("a\nb\n", "c\n")


def test_json_is_one_line_and_knows_paths_and_sets(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({"path": Path("/a"), "names": frozenset({"b", "a"}), "rows": (1, 2)})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"path": "/a", "names": ["a", "b"], "rows": [1, 2]}


def test_what_json_cannot_say_is_a_fault_of_ours() -> None:
    with pytest.raises(TypeError):
        say_json({"x": object()})


def test_columns_line_up_and_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    columns(("name", "state"), [("a", "[bold]x[/bold]"), ("longer", "y")])
    assert capsys.readouterr().out == "name    state\na       [bold]x[/bold]\nlonger  y\n"


class Terminal(io.TextIOWrapper):
    """Of one width, and of one alphabet."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="backslashreplace", write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        return cast(io.BytesIO, self.buffer).getvalue().decode(self.encoding)


@pytest.mark.parametrize(
    ("width", "is_table"), [("100", True), ("40", True), ("39", False), ("20", False), ("1", False)]
)
def test_a_terminal_too_narrow_for_a_table_shows_a_line_for_each_cell(
    monkeypatch: pytest.MonkeyPatch, width: str, is_table: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TERM", "xterm")
    with redirect_stdout(terminal):
        columns(("name", "state", "where"), [("files", "not approved yet", "here"), ("a", "", "there")])
    if is_table:
        assert [line.split()[0] for line in terminal.shown.splitlines()[1:]] == ["files", "a"]
    else:
        assert (
            terminal.shown == "name: files\nstate: not approved yet\nwhere: here\n\nname: a\nwhere: there\n"
        )


def test_a_terminal_of_an_old_alphabet_gets_json_and_an_arrow_that_it_can_show() -> None:
    out, err = Terminal("latin-1"), Terminal("ascii")
    with redirect_stdout(out), redirect_stderr(err):
        say_json({"text": "é → 関 \U0001f600"})
        say_error(Refused("plugin_quarantined", "not approved", remedy="review it"), 1, as_json=False)
    assert json.loads(out.shown) == {"text": "é → 関 \U0001f600"}
    assert err.shown == "sekisho: not approved\n-> review it\n"


def test_a_table_without_rows_still_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    columns(("a", "b"), [])
    assert capsys.readouterr().out == "a  b\n"


def test_a_record_on_one_line_quotes_what_has_spaces() -> None:
    assert (
        as_line({"n": 1, "tool": "add", "reason": "not now", "none": ""}) == 'n=1 tool=add reason="not now"'
    )


HOSTILE = "a\x1b[2J\x9b31m\u202e\u2028\x7f\U000e0041\ud800b"


@pytest.mark.threat("T-HIDDEN")
def test_nothing_that_acts_or_hides_reaches_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say([HOSTILE])
    note(HOSTILE)
    columns(("name",), [(HOSTILE,), ("two\nlines",)])
    say_error(Refused("rate_limited", HOSTILE + "\nsekisho: all is well", remedy=HOSTILE), 1, as_json=False)
    say_error(Refused("rate_limited", HOSTILE, remedy=HOSTILE), 1, as_json=True)
    say_json({HOSTILE: HOSTILE})
    captured = capsys.readouterr()
    assert not set(HOSTILE[1:-1]) & set(captured.out + captured.err) - set("[2J31m")
    assert "two⟨U+000A⟩lines" in captured.out
    assert captured.err.count("\nsekisho: ") == 1
    assert json.loads(captured.out.splitlines()[-1]) == {HOSTILE: HOSTILE}


@pytest.mark.threat("T-HIDDEN")
def test_a_record_stays_one_line_whatever_its_fields_hold() -> None:
    line = as_line({"path": "x\n9 tool=forged", "name": "\x1b[2J", "empty": ""})
    assert line == r'path="x\n9 tool=forged" name="\u001b[2J"'


def test_letters_of_every_script_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    words = "関所 ключ clé ✓ → “x”\tnext\nline"
    say([words])
    say_json({"a": "関所 é"})
    assert capsys.readouterr().out == words + "\n" + '{"a": "関所 é"}\n'
    assert as_text("関所") == as_line({"a": "関所"}).removeprefix("a=") == "関所"


@given(st.text())
def test_what_was_made_to_be_shown_is_shown_as_it_is(text: str) -> None:
    assert as_text(as_text(text)) == as_text(text)
    assert "\n" not in as_text(text)


def test_an_error_is_a_line_and_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert say_error(Refused("rate_limited", "too fast", remedy="wait"), 1, as_json=False) == 1
    assert capsys.readouterr().err == "sekisho: too fast\n→ wait\n"
    say_error(Refused("rate_limited", "too fast", remedy="wait"), 1, as_json=True)
    assert json.loads(capsys.readouterr().err) == {
        "error": {"code": "rate_limited", "message": "too fast", "remedy": "wait"}
    }


def test_a_fault_of_ours_says_where_and_not_what_was_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError) as caught:
        raise KeyError("hunter2")
    assert say_trouble(caught.value, 1, as_json=False) == 1
    err = capsys.readouterr().err
    assert err.startswith("sekisho: a fault of sekisho: KeyError in test_saying.py:")
    assert "hunter2" not in err
    assert "Traceback" not in err
