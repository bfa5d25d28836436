"""Bad input: an error with a stable code, the right status, a record, a metric, and an unaffected next call."""

from __future__ import annotations

import pytest
from tests.real.conftest import CHANGE_S, Answer, House, message, until

pytestmark = [pytest.mark.real]


def turned_away(house: House, answer: Answer, code: str, status: int, before: float) -> None:
    """The refusal has its code, its status, its record and its metric, and harmed nobody."""
    assert answer.code == code
    assert answer.status == status
    assert answer.body["error"]["data"]["remedy"]
    assert house.recorded(answer.call_id) == [f"refusal {code}"]
    assert house.counted(code) == before + 1
    house.unaffected()


def failed(house: House, answer: Answer, codes: set[str], before: float) -> None:
    """The same for a call that reached its plugin: intent and outcome are on record."""
    assert answer.code in codes
    assert answer.status == 200
    assert house.recorded(answer.call_id) == ["intent ", f"outcome {answer.code}"]
    assert sum(house.counted(code) for code in codes) == before + 1
    house.unaffected()


def _deep(levels: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + b"[" * levels + b"]" * levels + b"}"


def _call(arguments: bytes) -> bytes:
    return (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo__echo","arguments":'
        + arguments
        + b"}}"
    )


UNREADABLE = {
    "not JSON": (b"{", "json_malformed", 400),
    "depth 10000": (_deep(10_000), "json_too_deep", 400),
    "depth 10000 in arguments": (
        _call(b'{"text":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
        "json_too_deep",
        400,
    ),
    "invalid UTF-8": (_call(b'{"text":"\xff\xfe"}'), "json_malformed", 400),
    "a key twice": (
        b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}',
        "json_duplicate_key",
        400,
    ),
    "a key of arguments twice": (_call(b'{"text":"one","text":"two"}'), "json_duplicate_key", 400),
    "a batch": (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', "batch_refused", 400),
}


@pytest.mark.requirement("A1.2", "B7")
@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_body_that_cannot_be_read_one_way_is_refused(house: House, name: str) -> None:
    body, code, status = UNREADABLE[name]
    house.unaffected()
    before = house.counted(code)
    turned_away(house, house.post(body), code, status, before)


@pytest.mark.requirement("A1.2", "B7")
@pytest.mark.threat("T-FLOOD")
def test_a_body_of_eleven_megabytes_is_refused(house: House) -> None:
    before = house.counted("body_too_large")
    answer = house.post(_call(b'{"text":"' + b"x" * (11 << 20) + b'"}'))
    turned_away(house, answer, "body_too_large", 413, before)


@pytest.mark.requirement("A1.2")
@pytest.mark.threat("T-FLOOD")
def test_a_body_of_nine_megabytes_is_answered(house: House) -> None:
    assert len(house.call("echo__echo", text="x" * (9 << 20)).text) == 9 << 20


@pytest.mark.requirement("A2.1", "B7")
@pytest.mark.threat("T-NOTOKEN")
@pytest.mark.parametrize(
    ("token", "code"), [(None, "token_missing"), ("sk-" + "A" * 43, "token_invalid"), ("x", "token_invalid")]
)
def test_a_call_without_the_right_token_is_refused(house: House, token: str | None, code: str) -> None:
    before = house.counted(code)
    answer = house.post(message("tools/list", {}), token=token)
    turned_away(house, answer, code, 401, before)
    record = house.records()
    assert next(one for one in record if one.get("call") == answer.call_id).get("client") is None


@pytest.mark.requirement("A2.1")
@pytest.mark.threat("T-NOTOKEN")
def test_the_token_file_is_for_its_owner_alone(house: House) -> None:
    assert (house.home.stat().st_mode & 0o777) == 0o700
    token_files = [path for path in house.home.rglob("*") if path.is_file() and house.token in _text(path)]
    assert [str(path) for path in token_files] == [house.ready["token_file"]]
    assert (token_files[0].stat().st_mode & 0o777) == 0o600


def _text(path: object) -> str:
    with open(str(path), "rb") as file:  # noqa: PTH123
        return file.read().decode("latin-1")


@pytest.mark.requirement("A2.1")
@pytest.mark.threat("T-OPERATION")
@pytest.mark.parametrize(
    ("tool", "code"),
    [
        ("echo__nothing", "tool_unknown"),
        ("nothing", "tool_unknown"),
        ("hostile__write_file", "operation_not_allowed"),
    ],
)
def test_a_tool_that_is_unknown_or_not_granted_is_refused(house: House, tool: str, code: str) -> None:
    house.unaffected()
    before = house.counted(code)
    turned_away(house, house.call(tool, path="/tmp/x"), code, 200, before)


@pytest.mark.requirement("A2.1")
@pytest.mark.threat("T-OPERATION")
def test_the_list_of_tools_shows_what_is_granted(house: House) -> None:
    names = {tool["name"] for tool in house.request("tools/list", {}).body["result"]["tools"]}
    assert {"echo__echo", "echo__add", "hostile__escape"} <= names
    assert "hostile__write_file" not in names


@pytest.mark.requirement("A1.2")
@pytest.mark.threat("T-ARGUMENTS")
@pytest.mark.parametrize("arguments", [{}, {"text": 1}, {"text": "a", "more": "b"}])
def test_arguments_outside_the_schema_are_refused(house: House, arguments: dict[str, object]) -> None:
    house.unaffected()
    before = house.counted("arguments_invalid")
    answer = house.call("echo__echo", **arguments)
    turned_away(house, answer, "arguments_invalid", 200, before)


@pytest.mark.requirement("A1.2")
def test_an_unknown_plugin_is_refused(house: House) -> None:
    before = house.counted("plugin_unknown")
    answer = house.post(message("tools/list", {}), path="/p/nobody/mcp")
    turned_away(house, answer, "plugin_unknown", answer.status, before)


@pytest.mark.requirement("A1.1")
@pytest.mark.threat("T-HANG")
def test_a_plugin_that_never_answers_is_stopped_and_comes_back(house: House) -> None:
    until(lambda: house.answers("hostile__echo", text="a"), "hostile serves")
    family = house.tree(house.pid("plugin hostile"))
    before = house.counted("plugin_timeout")
    failed(house, house.call("hostile__hang"), {"plugin_timeout"}, before)
    until(lambda: house.tree(house.pid("plugin hostile")) != family, "the process tree was stopped")
    until(lambda: house.answers("hostile__echo", text="b"), "hostile comes back")


@pytest.mark.requirement("A1.1")
@pytest.mark.threat("T-GARBAGE")
def test_a_plugin_that_exits_fails_its_own_call_only_and_comes_back(house: House) -> None:
    until(lambda: house.answers("hostile__echo", text="a"), "hostile serves")
    before = house.counted("plugin_exited")
    failed(house, house.call("hostile__exit"), {"plugin_exited"}, before)
    until(lambda: house.answers("hostile__echo", text="b"), "hostile comes back")


@pytest.mark.requirement("A1.1")
@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("tool", ["garbage", "unasked"])
def test_a_plugin_that_prints_garbage_confuses_nobody(house: House, tool: str) -> None:
    until(lambda: house.answers("hostile__echo", text="a"), "hostile serves")
    answer = house.call(f"hostile__{tool}")
    assert answer.code in ("ok", "plugin_protocol")
    if answer.code == "ok":
        assert answer.text == tool
    house.unaffected()
    until(lambda: house.answers("hostile__echo", text="b"), "hostile serves on")


@pytest.mark.requirement("A1.1")
@pytest.mark.threat("T-GARBAGE", "T-FLOOD")
def test_a_line_of_two_hundred_megabytes_ends_the_plugin_not_the_house(house: House) -> None:
    until(lambda: house.answers("granted__echo", text="a"), "the plugin serves")
    core, server = house.pid("core"), house.pid("plugin granted")
    codes = {"result_too_large", "plugin_exited"}
    before = sum(house.counted(code) for code in codes)
    failed(house, house.call("granted__huge_line", megabytes=200), codes, before)
    assert (house.pid("core"), house.pid("plugin granted")) == (core, server)
    for pid in (core, server):
        assert _peak_mb(pid) < 200
    until(lambda: house.answers("granted__echo", text="b"), "the plugin comes back", CHANGE_S)


def _peak_mb(pid: int) -> float:
    """The most memory the process ever held: the line was never held whole."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:  # noqa: PTH123
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
