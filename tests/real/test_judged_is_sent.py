"""What the gate judged is, byte for byte in every reader's eyes, what the plugin receives on its standard input."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.values import exactly, read_by_all
from hypothesis import HealthCheck, given, settings
from tests.real.conftest import House, common, message, plugin
from tests.spelling import spelled_calls

pytestmark = [pytest.mark.real]

MIRROR = Path(__file__).with_name("mirror.py")


@pytest.fixture(scope="module")
def mirrored(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with a plugin that gives back its own line."""
    text = common() + plugin("m", MIRROR, operations=["mirror"])
    house = House(tmp_path_factory.mktemp("mirrored"), text)
    assert house.request("ping", {}).code == "ok"
    yield house
    house.stop()


def line_for(house: House, arguments: bytes) -> bytes:
    """The line the plugin got for these arguments."""
    body = message("tools/call", {"name": "m__mirror", "arguments": 0}, 7)
    answer = house.post(body.replace(b'"arguments": 0', b'"arguments": ' + arguments))
    assert answer.code == "ok", answer.body
    return base64.b64decode(answer.text)


def check(house: House, arguments: bytes) -> None:
    line = line_for(house, arguments)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    read_by_all(line)  # no key twice at any depth, one value for every reader
    received = json.loads(line)
    assert received.keys() == {"jsonrpc", "id", "method", "params"}
    assert received["params"].keys() - {"_meta"} == {"name", "arguments"}
    assert received["params"]["name"] == "mirror"
    assert exactly(received["params"]["arguments"]) == exactly(json.loads(arguments))


@pytest.mark.threat("T-PARSER")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(call=spelled_calls())
def test_the_plugin_receives_exactly_the_judged_arguments(
    mirrored: House, call: tuple[dict[str, object], bytes]
) -> None:
    arguments = call[1].removeprefix(b'{"name":"a","arguments":').removesuffix(b"}")
    check(mirrored, arguments)


EXTREMES = [
    "9" * 300, "-" + "9" * 300, "18446744073709551616", "9007199254740993", "-0", "-0.0", "1e308", "-1E-308", "5e-324",
    "1.7976931348623157e308", "2.2250738585072011e-308", "1e-999", "0.1", '"\\u0000\\u001f\\u007f"', '"\\ud83d\\ude00😀"',
    '"\\u2028\\u2029"', '"\\\\\\"\\/\\b\\f\\n\\r\\t"', "[" * 60 + "]" * 60, '{"":{"":{"":[{}]}}}',
    '"' + "é" * 100_000 + '"',
]  # fmt: skip


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("value", EXTREMES, ids=[value[:20] for value in EXTREMES])
def test_extreme_values_arrive_as_they_were_judged(mirrored: House, value: str) -> None:
    check(mirrored, ('{"v":' + value + "}").encode())


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (b'{"v":1,"v":1}', "json_duplicate_key"),
        (b'{"v":{"a":[{"b":1,"\\u0062":2}]}}', "json_duplicate_key"),
        (b'{"v":1e999}', "json_too_large"),
        (b'{"v":NaN}', "json_malformed"),
        (b'{"v":"\\ud800"}', "json_malformed"),
        (b'{"v":"\xed\xa0\x80"}', "json_malformed"),
        (b'{"v":"\xc0\xaf"}', "json_malformed"),
        (b'{"v":' + b"[" * 64 + b"]" * 64 + b"}", "json_too_deep"),
        (b'{"v":"\n"}', "json_malformed"),
        (b'{"v":1}}\n{"jsonrpc":"2.0","id":9,"method":"tools/list"}', "json_malformed"),
    ],
)
def test_what_readers_would_disagree_about_never_arrives(
    mirrored: House, arguments: bytes, code: str
) -> None:
    body = message("tools/call", {"name": "m__mirror", "arguments": 0}, 7)
    answer = mirrored.post(body.replace(b'"arguments": 0', b'"arguments": ' + arguments))
    assert answer.code == code
    check(mirrored, b'{"v":1}')
