"""A plugin server that cannot begin says why, once, and begins when it can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import StringIO
from typing import Any, cast

import pytest

from sekisho.assembly.plugin import MOST_RETRY_S, RETRY_S, _entered
from sekisho.errors import Misconfigured, Unavailable
from sekisho.telemetry import Logger

NO_SECRET = Misconfigured("key_unavailable", "there is no value at file:/x", remedy="write it")
NO_PROGRAM = Misconfigured("config_invalid", "there is no program /y", remedy="install it")


async def _tried(*troubles: Exception) -> tuple[list[float], str]:
    """How long it waited after each trouble, and what it said."""
    left: Iterator[Exception] = iter(troubles)
    pauses: list[float] = []
    said = StringIO()

    @asynccontextmanager
    async def way(_launcher: object) -> AsyncIterator[str]:
        for trouble in left:
            raise trouble
        yield "here"

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with AsyncExitStack() as stack:
        log = Logger("plugin p", stream=said)
        found: Any = await _entered(stack, cast("Any", way), None, log, pause)
        assert found == "here"
    return pauses, said.getvalue()


async def test_what_an_operator_must_mend_is_said_once_and_asked_for_ever_less_often() -> None:
    pauses, said = await _tried(*[NO_SECRET] * 9)
    assert said.count("there is no value at file:/x") == 1
    assert pauses[0] == RETRY_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == MOST_RETRY_S


async def test_another_reason_is_said_and_tried_soon_for_somebody_is_at_it() -> None:
    pauses, said = await _tried(*[NO_SECRET] * 9, NO_PROGRAM, NO_PROGRAM)
    assert said.count("there is no program /y") == 1
    assert pauses[9] == RETRY_S


async def test_what_needs_nobody_ends_the_process_which_is_started_again() -> None:
    with pytest.raises(Unavailable):
        await _tried(NO_SECRET, Unavailable("plugin_unavailable", "the egress process is away"))
