"""What a plugin may ask of clients, in the words of the wire; read by the core and by the plugin's own server."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["client_requests"]


def client_requests(words: Iterable[str]) -> frozenset[str]:
    """The configured words as the gate knows them; whoever may sample may do it with tools."""
    asked = {word.replace("elicitation-url", "elicitation/url") for word in words}
    return frozenset(asked | ({"sampling/tools"} if "sampling" in asked else set()))
