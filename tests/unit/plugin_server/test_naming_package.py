"""Every surface of a packaged plugin names the tree it runs from, whatever the plugin says."""

from __future__ import annotations

import msgspec

from sekisho.plugin_server import OfPackage
from sekisho.wire import DenialFrame, StateFrame, SurfaceFrame

TREE = "sha256:" + "a" * 64


class Heard:
    """What reached the core."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def publish_surface(self, frame: SurfaceFrame) -> None:
        self.said.append(frame)

    def publish_state(self, frame: StateFrame) -> None:
        self.said.append(frame)

    def publish_denial(self, denial: DenialFrame) -> None:
        self.said.append(denial)


def test_the_tree_is_named_and_everything_else_passes_as_it_is() -> None:
    heard = Heard()
    publisher = OfPackage(heard, TREE)
    surface = SurfaceFrame(server_info=msgspec.Raw(b"{}"), capabilities=msgspec.Raw(b"{}"), instructions="x")
    state, denial = StateFrame(state="ready"), DenialFrame("dns", "network_policy", "no")
    publisher.publish_surface(surface)
    publisher.publish_state(state)
    publisher.publish_denial(denial)
    assert heard.said == [msgspec.structs.replace(surface, tree=TREE), state, denial]
