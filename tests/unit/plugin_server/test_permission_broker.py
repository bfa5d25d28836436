"""Deno's questions are answered by the grants, and every refusal is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.plugin_server.permission_broker import MAX_LINE_BYTES, SPARE_LINES, answer, permission_broker
from sekisho.policy import FileGrant, Grants
from sekisho.sandbox.deno.access import DenoAccess
from sekisho.wire import DenialFrame

ACCESS = DenoAccess(grants=Grants(files=FileGrant(read_only_paths=("/srv/data",))))


def line(permission: str, value: str | None, number: int = 7, **more: object) -> bytes:
    asked = {"v": 1, "pid": 1, "id": number, "datetime": "now", "permission": permission, "value": value}
    return json.dumps({**asked, **more}).encode() + b"\n"


def asked(permission: str, value: str | None) -> tuple[dict[str, Any], list[DenialFrame]]:
    denials: list[DenialFrame] = []
    said = answer(line(permission, value), ACCESS, denials.append)
    assert said is not None
    assert said.endswith(b"\n")
    return json.loads(said), denials


def test_what_is_granted_is_allowed_and_nothing_is_told() -> None:
    assert asked("read", "/srv/data/x") == ({"id": 7, "result": "allow"}, [])


@pytest.mark.parametrize(
    ("permission", "value", "kind", "rule"),
    [
        ("read", "/etc/passwd", "path", "filesystem_policy"),
        ("write", "/srv/data/x", "path", "filesystem_policy"),
        ("net", "evil.example:443", "connect", "network_policy"),
        ("run", "/bin/sh", "permission", "runtime = deno"),
        ("ffi", None, "permission", "runtime = deno"),
    ],
)
def test_what_is_not_granted_is_denied_with_a_reason_and_told(
    permission: str, value: str | None, kind: str, rule: str
) -> None:
    said, denials = asked(permission, value)
    assert said["result"] == "deny"
    assert said["reason"].startswith("sekisho: ")
    assert [(one.kind, one.rule, one.target) for one in denials] == [(kind, rule, value or "")]


def test_what_a_plugin_wrote_is_told_in_plain_characters() -> None:
    _, denials = asked("read", "/x\n\x1b[31m\u202e" + "y" * 1000)
    assert denials[0].target.isascii()
    assert denials[0].target.isprintable()
    assert len(denials[0].target) < 1000


@pytest.mark.parametrize(
    "given",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"{",
        b"\xff\n",
        line("env", "A", v=2),
        line("env", "A", id="x"),
        b"[" * 100_000,
    ],
)
def test_what_is_no_question_has_no_answer(given: bytes) -> None:
    assert answer(given, ACCESS, lambda _: pytest.fail("no question")) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_answered_or_not(given: bytes) -> None:
    said = answer(given, ACCESS, lambda _: None)
    assert said is None or said.endswith(b"\n")


async def _ask(path: Path, *lines: bytes) -> list[bytes]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(b"".join(lines))
        return [await reader.readline() for _ in lines]
    except ConnectionError:
        return [b""] * len(lines)
    finally:
        await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_many_questions_are_answered_in_their_order_on_one_line(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_many_questions(tmp_path))


async def _many_questions(tmp_path: Path) -> None:
    denials: list[DenialFrame] = []
    async with asyncio.timeout(20), permission_broker(tmp_path / "b", ACCESS, denials.append) as path:
        said = await _ask(path, *(line("read", f"/{number}", number) for number in range(50)))
        assert [json.loads(one)["id"] for one in said] == list(range(50))
        assert len(denials) == 50
        assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert not path.parent.exists()


async def test_a_line_that_is_no_question_cuts_the_connection_and_another_still_works(tmp_path: Path) -> None:
    async with asyncio.timeout(20), permission_broker(tmp_path / "b", ACCESS, lambda _: None) as path:
        assert await _ask(path, b"nonsense\n", line("env", "A")) == [b"", b""]
        assert await _ask(path, b"x" * (MAX_LINE_BYTES * 2)) == [b""]
        assert json.loads((await _ask(path, line("env", "A")))[0])["result"] == "allow"


async def test_connections_are_bounded(tmp_path: Path) -> None:
    async with asyncio.timeout(20), permission_broker(tmp_path / "b", ACCESS, lambda _: None, 3) as path:
        kept = [await asyncio.open_unix_connection(path) for _ in range(SPARE_LINES + 3)]
        for number, (reader, writer) in enumerate(kept):  # answered, so known to the broker
            writer.write(line("env", "A", number))
            assert await reader.readline()
        assert await _ask(path, line("env", "A")) == [b""]
        for _, writer in kept:
            await _close(writer)


async def test_what_an_earlier_broker_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "broker.sock").write_text("left")
    async with permission_broker(tmp_path / "b", ACCESS, lambda _: None) as path:
        assert path.is_socket()


async def test_a_path_too_long_for_a_socket_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="permission broker"):
        async with permission_broker(tmp_path / ("b" * 150), ACCESS, lambda _: None):
            pass
