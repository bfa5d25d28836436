"""One event is one harmless line."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.telemetry import Level, Logger
from sekisho.telemetry.log import MASK, MAX_MEMBERS, MAX_TEXT

NOON = 1_795_262_400.0


def logger(stream: io.StringIO, **options: Any) -> Logger:
    return Logger("core", stream=stream, clock=lambda: NOON, **{"json_lines": True, **options})


def one(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_an_event_has_time_level_process_name_and_fields() -> None:
    stream = io.StringIO()
    logger(stream).info("plugin_state", plugin="notes", restarts=2, up=True, detail=None)
    assert one(stream) == {
        "time": "2026-11-21T12:00:00.000+00:00",
        "level": "INFO",
        "process": "core",
        "event": "plugin_state",
        "plugin": "notes",
        "restarts": 2,
        "up": True,
        "detail": None,
    }


def test_a_person_reads_key_and_value() -> None:
    stream = io.StringIO()
    logger(stream, json_lines=False).warning("reload_refused", reason="bad file", code="config_invalid")
    assert stream.getvalue() == (
        "time=2026-11-21T12:00:00.000+00:00 level=WARNING process=core event=reload_refused "
        'reason="bad file" code=config_invalid\n'
    )


def test_a_stream_that_is_no_terminal_gets_json() -> None:
    stream = io.StringIO()
    Logger("core", stream=stream, clock=lambda: NOON).info("started")
    assert one(stream)["event"] == "started"


def test_less_than_the_level_is_not_written() -> None:
    stream = io.StringIO()
    log = logger(stream, level="WARNING")
    log.event("a", Level.DEBUG)
    log.info("b")
    log.event("c")
    log.warning("d")
    log.error("e")
    log.event("f", Level.ERROR)
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["d", "e", "f"]


@pytest.mark.parametrize(
    "name", ["token", "api_token", "password", "client_secret", "authorization", "cookie", "key"]
)
def test_fields_named_like_secrets_are_masked(name: str) -> None:
    stream = io.StringIO()
    logger(stream).info("x", **{name: "hunter2"})
    assert one(stream)[name] == MASK


def test_a_payload_has_no_way_in() -> None:
    stream = io.StringIO()
    fields: dict[str, Any] = {"body": b"secret", "table": {"a": 1}, "members": [{"a": 1}, "b"]}
    logger(stream).info("x", **fields)
    shown = one(stream)
    assert (shown["body"], shown["table"], shown["members"]) == ("<bytes>", "<dict>", ["<dict>", "b"])


def test_long_values_are_cut() -> None:
    stream = io.StringIO()
    logger(stream).info("x", text="a" * (MAX_TEXT + 1), names=["n"] * (MAX_MEMBERS + 1))
    shown = one(stream)
    assert shown["text"] == "a" * MAX_TEXT + "..."
    assert shown["names"] == ["n"] * MAX_MEMBERS + ["..."]


def test_a_field_cannot_pose_as_the_event() -> None:
    stream = io.StringIO()
    fields: dict[str, Any] = {"event": "all_is_well", "process": "other", "time": "never"}
    logger(stream).error("broken", **fields)
    shown = one(stream)
    assert (shown["event"], shown["process"], shown["level"]) == ("broken", "core", "ERROR")


@pytest.mark.threat("T-HIDDEN")
@given(st.text(), st.booleans())
def test_whatever_a_field_says_it_stays_one_line_of_plain_characters(value: str, json_lines: bool) -> None:
    stream = io.StringIO()
    logger(stream, json_lines=json_lines).info("x", reason=value)
    line = stream.getvalue()
    assert line.endswith("\n")
    assert all(" " <= character <= "~" for character in line[:-1])


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    stream = io.StringIO()
    log = logger(stream)
    stream.close()
    log.info("x")
    log.info("y")
    assert log.lost == 2
