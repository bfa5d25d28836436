"""What a record says, and what it never says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import blake2b, sha256
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from sekisho.audit import records

NOW = 1_763_735_400.123456


def test_time_is_rfc_3339_with_microseconds() -> None:
    assert records.timestamp(0.0) == "1970-01-01T00:00:00.000000Z"
    assert records.timestamp(NOW) == "2025-11-21T14:30:00.123456Z"
    assert records.timestamp(1.9999999) == "1970-01-01T00:00:02.000000Z"


def test_an_instant_reads_the_same_however_many_came_before_it() -> None:
    instants = [NOW + number for number in range(3 * records.MAX_INSTANTS)]
    first = [records.timestamp(one) for one in instants]
    assert [records.timestamp(one) for one in reversed(instants)] == first[::-1]
    assert len(set(first)) == len(instants)


@pytest.mark.requirement("A2.3")
def test_an_intent_names_the_call_and_commits_to_its_arguments() -> None:
    entry = records.intent(
        now=NOW,
        call="c1",
        client="ide",
        plugin="files",
        tool="read",
        arguments=b'{"path":"/x"}',
        salt=b"s" * 32,
    )
    assert json.loads(entry) == {
        "v": 1,
        "time": "2025-11-21T14:30:00.123456Z",
        "kind": "intent",
        "call": "c1",
        "client": "ide",
        "plugin": "files",
        "tool": "read",
        "arguments": {"sha256": sha256(b"s" * 32 + b'{"path":"/x"}').hexdigest(), "size": 13},
    }


def test_an_intent_commits_to_what_came_beside_the_arguments_too() -> None:
    said = {"meta": b'{"traceparent":"00"}', "answers": b'{"who":{"action":"accept"}}'}
    given = {"now": NOW, "call": "c1", "client": "ide", "plugin": "p", "tool": "t", "arguments": b"{}"}
    bare = json.loads(records.intent(**given, salt=b"s" * 32))  # type: ignore[arg-type]  # of one kind each
    entry = json.loads(records.intent(**given, **said, salt=b"s" * 32))  # type: ignore[arg-type]  # of one kind each
    for name, text in said.items():
        assert entry.pop(name) == {"sha256": sha256(b"s" * 32 + text).hexdigest(), "size": len(text)}
    assert entry == bare


def test_no_payload_enters_a_record() -> None:
    secret = "hunter2-hunter2"
    entries = [
        records.intent(now=NOW, call="c", client="i", plugin="p", tool="t", arguments=secret.encode()),
        records.outcome(now=NOW, call="c", client="i", plugin="p", tool="t", result=secret.encode()),
    ]
    assert not [entry for entry in entries if secret.encode() in entry]


def test_equal_payloads_do_not_look_equal() -> None:
    first, second = json.loads(records.commitment(b"pin 1234")), json.loads(records.commitment(b"pin 1234"))
    assert first["sha256"] != second["sha256"]
    assert first["sha256"] == sha256(bytes.fromhex(first["salt"]) + b"pin 1234").hexdigest()


def test_a_large_payload_is_committed_to_with_the_faster_digest() -> None:
    salt, large = b"s" * 32, b"x" * records.LARGE_BYTES
    small = json.loads(records.commitment(large[1:], salt))
    assert small == {"sha256": sha256(salt + large[1:]).hexdigest(), "size": len(large) - 1}
    told = json.loads(records.commitment(large, salt))
    assert told == {"blake3": blake3(salt + large).hexdigest(), "size": len(large)}
    fresh = json.loads(records.commitment(large))
    assert fresh["blake3"] == blake3(bytes.fromhex(fresh["salt"]) + large).hexdigest()
    assert fresh["blake3"] != told["blake3"]


def test_only_the_owner_of_the_secret_can_open_a_commitment() -> None:
    salt = records.salt_for(b"k" * 32, "call-1")
    assert "salt" not in json.loads(records.commitment(b"pin 1234", salt))
    assert salt == records.salt_for(b"k" * 32, "call-1")
    assert salt != records.salt_for(b"j" * 32, "call-1")
    assert salt != records.salt_for(b"k" * 32, "call-2")


def test_an_outcome_tells_how_a_call_ended() -> None:
    line = records.outcome(
        now=NOW, call="c", client="i", plugin="p", tool="t", code="plugin_timeout", reason="30 s"
    )
    entry = json.loads(line)
    assert (entry["kind"], entry["code"], entry["reason"]) == ("outcome", "plugin_timeout", "30 s")
    assert "result" not in entry


def test_a_refusal_leaves_out_what_could_not_be_read() -> None:
    entry = json.loads(records.refusal(now=NOW, call=None, code="token_missing", reason="no token"))
    assert set(entry) == {"v", "time", "kind", "code", "reason"}
    line = records.refusal(
        now=NOW, call="c", client="i", plugin="p", tool="t", code="operation_not_allowed", reason="no rule"
    )
    entry = json.loads(line)
    assert (entry["kind"], entry["client"], entry["tool"]) == ("refusal", "i", "t")


def test_an_event_has_a_name_and_fields() -> None:
    line = records.event(now=NOW, name="plugin_restarted", plugin="files", restarts=2, detail=None)
    entry = json.loads(line)
    assert (entry["kind"], entry["name"], entry["plugin"], entry["restarts"]) == (
        "event",
        "plugin_restarted",
        "files",
        2,
    )
    assert "detail" not in entry
    with pytest.raises(ValueError, match="taken"):
        records.event(now=NOW, name="x", kind="intent")
    with pytest.raises(ValueError, match="taken"):
        records.event(now=NOW, name="x", n=7)


@given(st.text(alphabet=st.characters(), max_size=2000))
def test_any_stranger_s_text_fits_one_bounded_line(text: str) -> None:
    for line in (
        records.refusal(now=NOW, call=text, client=text, plugin=text, tool=text, code="x", reason=text),
        records.intent(now=NOW, call=text, client=text, plugin=text, tool=text, arguments=b""),
        records.outcome(now=NOW, call=text, client=text, plugin=text, tool=text, code=text, reason=text),
    ):
        assert b"\n" not in line
        assert len(line) < 65_500
        entry = json.loads(line)
        assert len(entry["call"]) <= records.MAX_TEXT_CHARS + 1
        assert entry["client"] == entry["plugin"] == entry["tool"] == entry["call"]


@given(
    now=st.floats(0, 4e9),
    call=st.text(max_size=40),
    tool=st.text(max_size=40),
    payload=st.binary(max_size=9000),
    salt=st.none() | st.binary(min_size=16, max_size=32),
)
def test_an_entry_says_what_a_plain_encoder_would_say(
    now: float, call: str, tool: str, payload: bytes, salt: bytes | None
) -> None:
    """Entries are put together by hand, because that is faster; the library is the judge of it."""
    line = records.outcome(now=now, call=call, client="ide", plugin="p", tool=tool, result=payload, salt=salt)
    result = json.loads(line)["result"]
    used = bytes.fromhex(result["salt"]) if salt is None else salt
    assert result["sha256"] == sha256(used + payload).hexdigest()
    said = {
        "v": records.RECORD_VERSION,
        "time": records.timestamp(now),
        "kind": "outcome",
        "call": call,
        "client": "ide",
        "plugin": "p",
        "tool": tool,
        "code": "ok",
        "result": result,
    }
    assert line == msgspec.json.encode(said)


@given(st.integers(0, 4_000_000_000_000_000))
def test_every_microsecond_is_written_as_a_calendar_would(micros: int) -> None:
    exact = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    assert records.timestamp(micros / 1e6) == exact.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_the_worst_text_still_fits() -> None:
    worst = "\x00" * 5000
    entry = records.refusal(
        now=NOW, call=worst, client=worst, plugin=worst, tool=worst, code="x", reason=worst
    )
    assert len(entry) < 65_500
    assert json.loads(entry)["reason"].endswith("…")


def test_lone_surrogates_do_not_break_the_log() -> None:
    entry = records.refusal(now=NOW, call="\ud800", code="x", reason="\udfff")
    assert json.loads(entry)["call"] == "?"
    assert records.salt_for(b"k" * 32, "\ud800")


def test_a_secret_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="guessed"):
        records.salter(b"short")


def test_a_salter_gives_the_salt_its_owner_computes_again() -> None:
    salt_of = records.salter(b"k" * 32)
    assert [salt_of("a"), salt_of("b")] == [
        records.salt_for(b"k" * 32, "a"),
        records.salt_for(b"k" * 32, "b"),
    ]


@given(st.lists(st.text(max_size=20), max_size=4), st.text(min_size=14, max_size=18))
def test_a_salt_is_the_keyed_hash_of_its_call_whichever_calls_came_before(
    calls: list[str], begin: str
) -> None:
    salt_of = records.salter(b"k" * 32)
    for call in (*calls, begin + "1", begin + "2", *calls):
        whole = call.encode("utf-8", "replace")
        assert salt_of(call) == blake2b(whole, key=b"k" * 32, digest_size=32, person=b"sekisho-salt").digest()


def test_a_note_commits_to_what_was_passed_on_or_says_why_it_was_not() -> None:
    known: dict[str, Any] = {"now": NOW, "call": "c1", "client": "ide", "plugin": "files", "tool": "read"}
    for said in (("ok", 1, b'{"progress":1}'), ("plugin_protocol", 2, None)):
        alone = json.loads(records.notes(**known, said=said, salt=b"s" * 32))
        with_answer = json.loads(records.outcome(**known, result=b"{}", said=said, salt=b"s" * 32))
        assert (alone["kind"], with_answer["kind"], with_answer["code"]) == ("notes", "outcome", "ok")
        expected: dict[str, Any] = {"code": said[0], "count": said[1]}
        if said[2] is not None:
            expected["notes"] = {"sha256": sha256(b"s" * 32 + said[2]).hexdigest(), "size": 14}
        assert with_answer["progress"] == expected
        assert {name: alone[name] for name in ("code", "count", "notes") if name in alone} == expected
    assert "progress" not in json.loads(records.outcome(**known, result=b"{}"))


def test_more_parties_than_are_remembered_are_named_each_as_itself() -> None:
    for number in [*range(records.MAX_PARTIES + 2), 0]:
        entry = records.outcome(now=NOW, call="c1", client=f"c{number}", plugin="files", tool=f"t{number}")
        told = json.loads(entry)
        assert (told["client"], told["plugin"], told["tool"]) == (f"c{number}", "files", f"t{number}")
