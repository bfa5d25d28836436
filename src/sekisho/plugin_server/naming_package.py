"""A plugin that is a package says with everything it offers which tree of files it runs from.

Guarantees that every surface which reaches the core carries the digest of the tree that was proved when this plugin was
started. The plugin has no part in it: the digest is the plugin server's word, and another tree is another surface, which
somebody has to approve.
"""

from __future__ import annotations

import msgspec

from sekisho.plugin_server.warden import Publisher
from sekisho.wire import DenialFrame, StateFrame, SurfaceFrame

__all__ = ["OfPackage"]


class OfPackage:
    """A publisher that names the tree in every surface, and passes on the rest."""

    def __init__(self, publisher: Publisher, tree: str) -> None:
        self._publisher = publisher
        self._tree = tree

    def publish_surface(self, frame: SurfaceFrame) -> None:
        """What the plugin offers now."""
        self._publisher.publish_surface(msgspec.structs.replace(frame, tree=self._tree))

    def publish_state(self, frame: StateFrame) -> None:
        """How it is."""
        self._publisher.publish_state(frame)

    def publish_denial(self, denial: DenialFrame) -> None:
        """A wall refused something."""
        self._publisher.publish_denial(denial)
