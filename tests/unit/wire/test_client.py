from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sekisho.errors import SekishoError
from sekisho.wire import CallFrame, PlugLine, UnixAddress

if TYPE_CHECKING:
    from tests.unit.wire.conftest import House


@pytest.fixture
def line(house: House, tmp_path: Path) -> PlugLine:
    public = house.folder.public_identity(house.plugin.spiffe)
    return PlugLine(
        address=UnixAddress(path=str(tmp_path / "absent.sock")),
        peer=public.rule,
        peer_hpke_public=public.hpke_public,
        identity=house.core,
        ca_pem=house.folder.ca_pem(),
        ops=frozenset({"echo"}),
        clock=house.clock,
        on_surface=house.surfaces.append,
        on_state=house.states.append,
        on_denial=lambda denial, recorded: house.denials.append((denial, recorded)),
        on_down=house.refused.append,
        jitter=lambda: 0.0,
    )


async def test_a_call_on_a_line_that_is_down_is_answered_later_and_once(
    line: PlugLine, echo: CallFrame
) -> None:
    answered: asyncio.Future[bytes | memoryview | SekishoError] = asyncio.get_running_loop().create_future()
    line.expect()
    number = line.call(echo, answered.set_result)
    assert not answered.done()
    answer = await asyncio.wait_for(answered, 5)
    assert isinstance(answer, SekishoError)
    assert answer.code == "plugin_unavailable"
    line.cancel(number)
    assert not line.is_up
    assert line.in_flight == 0


async def test_every_call_has_its_own_number(line: PlugLine, echo: CallFrame) -> None:
    numbers = {line.call(echo, lambda answer: None) for _ in range(3)}
    assert len(numbers) == 3


async def test_a_line_keeps_trying_and_says_why_it_is_down(line: PlugLine, house: House) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):  # three tries at 0, 0.025 and 0.075 s
            await line.run()
    assert len(house.refused) >= 3
    assert {error.code for error in house.refused} == {"plugin_unavailable"}
    assert "cannot be reached" in house.refused[0].message
