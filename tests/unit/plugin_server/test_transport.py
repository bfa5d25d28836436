from __future__ import annotations

from sekisho.plugin_server.pipes import Pipes
from sekisho.plugin_server.session import PluginSession
from sekisho.plugin_server.transport import Hearer, Transport
from sekisho.protocol import JsonLimits


async def test_pipes_and_session_are_the_two_sides_of_the_seam() -> None:
    session = PluginSession(limits=JsonLimits())
    hearer: Hearer = session
    pipes: Transport = Pipes(
        receive_all=hearer.receive_all,
        receive_large=hearer.receive_large,
        on_end=hearer.fail_all,
        max_line_bytes=100,
    )
    session.attach(pipes)
    assert session.transport is pipes
    assert (pipes.has_streams, pipes.has_room()) == (False, True)


def test_each_side_has_few_methods() -> None:
    for side in (Transport, Hearer):
        assert 2 <= len([name for name in vars(side) if not name.startswith("_")]) <= 6
