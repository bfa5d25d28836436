"""What Deno says it was asked for is judged by the grants, and what its program prints stays what it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server.permission_lines import MAX_LINE_BYTES, PermissionLines
from sekisho.policy import FileGrant, Grants
from sekisho.sandbox.deno.access import DenoAccess
from sekisho.wire import DenialFrame

ACCESS = DenoAccess(
    grants=Grants(files=FileGrant(read_only_paths=("/srv/data",), writable_paths=("/srv/out",)))
)
Told = list[tuple[str, str, str]]


def line(permission: str, value: str | None) -> bytes:
    asked = {"v": 1, "datetime": "2026-11-22T21:26:56Z", "permission": permission, "value": value}
    return json.dumps(asked, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def sifted(*pieces: bytes, folder: str = "/srv/out") -> tuple[bytes, Told]:
    denials: list[DenialFrame] = []
    lines = PermissionLines(ACCESS, folder, denials.append)
    said = b"".join(map(lines.take, pieces))
    return said, [(one.kind, one.rule, one.target) for one in denials]


@pytest.mark.parametrize(
    ("permission", "value"),
    [
        ("read", "/srv/data/x"),
        ("read", "x"),
        ("write", "x"),
        ("write", "/srv/out/x"),
        ("write", "<TMP>"),
        ("sys", "homedir"),
        ("env", "SECRET"),
        ("import", "jsr.io:443"),
        ("net", "https://evil.example/"),
        ("read", None),
    ],
)
def test_what_is_granted_or_cannot_be_judged_is_not_told(permission: str, value: str | None) -> None:
    assert sifted(line(permission, value)) == (b"", [])


@pytest.mark.threat("T-READ-HOST")
@pytest.mark.parametrize(
    ("permission", "value", "kind", "rule", "target"),
    [
        ("read", "/etc/shadow", "path", "filesystem_policy", "/etc/shadow"),
        ("read", "../key", "path", "filesystem_policy", "/srv/out/../key"),
        ("write", "/srv/data/x", "path", "filesystem_policy", "/srv/data/x"),
        ("net", "evil.example:443", "connect", "network_policy", "evil.example:443"),
        ("sys", "hostname", "permission", "runtime = deno", "hostname"),
        ("ffi", "libc.so.6", "permission", "runtime = deno", "libc.so.6"),
    ],
)
def test_what_is_not_granted_is_told(permission: str, value: str, kind: str, rule: str, target: str) -> None:
    assert sifted(line(permission, value)) == (b"", [(kind, rule, target)])


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize(
    "before", [b"half a line", b'{"v":1,"datetime":"', b"\xff\x00", b'{"v":1,"datetime":"x"}']
)
def test_words_in_front_hide_nothing_and_are_passed_on(before: bytes) -> None:
    said, told = sifted(before + line("read", "/etc/shadow"), b"after\n")
    assert told == [("path", "filesystem_policy", "/etc/shadow")]
    assert said == before + b"after\n"


@pytest.mark.threat("T-LOG")
def test_a_value_that_looks_like_a_line_is_a_value() -> None:
    within = line("read", "/srv/data/x").decode().rstrip("\n")
    said, told = sifted(line("read", "/etc/" + within))
    assert said == b""
    assert len(told) == 1
    assert told[0][2].startswith("/etc/")


def test_what_is_no_line_of_deno_is_passed_on() -> None:
    words = b'error: x\n{"v":1}\n{"v":1,"datetime":"now"\n\n{"v":1,"datetime":"now","permission":3}\n'
    assert sifted(words) == (words, [])


def test_an_unfinished_line_is_kept_for_its_end_but_not_without_bound() -> None:
    whole = line("read", "/etc/shadow")
    assert sifted(whole[:30], whole[30:])[1] == [("path", "filesystem_policy", "/etc/shadow")]
    assert sifted(b"x" * (MAX_LINE_BYTES + 1))[0] == b"x" * (MAX_LINE_BYTES + 1)


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=200))
def test_words_are_passed_on_as_they_are_in_whatever_pieces_they_come(words: bytes, at: int) -> None:
    assert sifted(words[:at], words[at:], b"\n") == (words + b"\n", [])


@pytest.mark.threat("T-READ-HOST")
@pytest.mark.parametrize("behind", [b"words", b"}", b" {", b'"}', b"\xff"])
def test_words_that_come_before_the_end_of_a_line_hide_nothing(behind: bytes) -> None:
    said, told = sifted(line("read", "/etc/shadow")[:-1] + behind + b"\n")
    assert [target for _, _, target in told] == ["/etc/shadow"]
    assert said == behind.decode(errors="replace").encode() + b"\n"
