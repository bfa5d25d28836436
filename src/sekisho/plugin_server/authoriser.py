"""What the requests to a plugin at a URL say about us, and who is asked when the plugin does not believe it.

Guarantees that credentials are those of this plugin only: nothing here ever sees a request of a client. `credentials`
has the implementation that logs in; the two here hold what an operator wrote down, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from sekisho.errors import Misconfigured, SekishoError
from sekisho.protocol import header_lines

__all__ = ["Authoriser", "StaticHeaders"]

# These are the transport's own; a second copy could contradict it.
_OURS: Final = frozenset(
    {
        "accept", "connection", "content-length", "content-type", "expect", "host", "last-event-id",
        "mcp-protocol-version", "mcp-session-id", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


class Authoriser(Protocol):
    """Whoever has the credentials for one plugin."""

    @property
    def problem(self) -> SekishoError | None:
        """Why there are no credentials that the plugin would take, if that is known."""

    def headers(self, method: str, url: str) -> Sequence[tuple[str, str]]:
        """What to send with one request; the same object as long as nothing changed."""

    async def prepare(self) -> None:
        """Before a session is opened; what can be renewed without anybody is renewed."""

    async def refused(self, status: int, challenge: str, nonce: str = "") -> bool:
        """A request came back with 401 or 403; True if it is worth sending again."""


class StaticHeaders:
    """Headers that an operator chose once; with none, requests without credentials."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        chosen = tuple((headers or {}).items())
        for name, value in chosen:
            if name.lower() in _OURS or name.lower().startswith("mcp-"):
                raise Misconfigured(
                    "config_invalid",
                    f"the header {name} is sekisho's own",
                    remedy="remove it from upstream_headers",
                )
            _check(name, value)
        self._headers = chosen

    @property
    def problem(self) -> SekishoError | None:
        """What an operator chose is all there is."""
        return None

    def headers(self, method: str, url: str) -> Sequence[tuple[str, str]]:
        """Always the same."""
        del method, url
        return self._headers

    async def prepare(self) -> None:
        """Nothing can be renewed."""

    async def refused(self, status: int, challenge: str, nonce: str = "") -> bool:
        """Only an operator can choose others."""
        return False


def _check(name: str, value: str) -> None:
    if not value or value != value.strip():
        raise Misconfigured(
            "config_invalid", f"the value of the header {name} is empty or has blanks around it"
        )
    header_lines([(name, value)])
