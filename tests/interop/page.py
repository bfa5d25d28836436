"""The page of the peers that are run: `docs/reference/interop.md`, made from the rows and the pinned versions.

python -m tests.interop.page > docs/reference/interop.md
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.interop.installing import version_of
from tests.interop.subjects import CLIENTS, SERVERS, Client, Server

__all__ = ["page"]

HEAD = """\
# Interop

Generated from `tests/interop` (`python -m tests.interop.page`); a test keeps it equal. Every test run starts these
programs, unmodified and in these versions, with no language model and no internet: real servers in their walls
behind one `sekisho up`, real clients in front of it with a bearer token over HTTPS.

## Servers

Each starts over standard input and output, is read with `sekisho review` and approved with `sekisho approve`. Then, from
`/p/<plugin>/mcp` and from `/mcp`, by the official Python client in both eras (2025-11-25 with a session, and 2026-07-28),
every tool, prompt, resource and template must be equal, as JSON, to what the server says to a client that talks to it
directly. So must the answers to the calls, prompts and resources named here. `server-everything` is run a second time
over Streamable HTTP, started by somebody else and reached by its URL.
"""
MIDDLE = """
## Clients

Each runs in a process and an environment of its own, in front of `server-everything`. It must end up with the revision
named, list every tool, call one, and, where it can, hear all progress in order and be asked in the midst of a call.
"""


def page() -> str:
    """The whole page."""
    servers = table(("server", "version", "era", "tools", "asked", "remarks"), map(_server, SERVERS))
    clients = table(
        ("client", "version", "revision", "progress", "is asked", "remarks"), map(_client, CLIENTS)
    )
    return "\n".join([HEAD, *servers, MIDDLE, *clients]) + "\n"


def table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _server(row: Server) -> tuple[str, ...]:
    asked = [f"`{call.tool}`" for call in row.calls]
    asked += [f"prompt `{row.prompt[0]}`"] if row.prompt else []
    asked += ["a resource"] if row.resource else []
    era = "both" if row.is_dual else "2025-11-25 and before"
    return _name(row.package), _version(row.package), era, str(row.tools), ", ".join(asked), row.note


def _client(row: Client) -> tuple[str, ...]:
    words = f" ({' '.join(row.words)})" if row.words else ""
    does = [_does(row.progress), _does(row.elicitation)]
    return _name(row.package) + words, _version(row.package), row.revision or "not said", *does, row.note


def _does(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _name(package: str) -> str:
    kind, _, name = package.partition(":")
    return f"`{name}` on {'npm' if kind == 'npm' else 'PyPI'}"


def _version(package: str) -> str:
    kind, _, name = package.partition(":")
    if kind != "own":
        return version_of(package)
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text("utf-8"))
    development = project["project"]["optional-dependencies"]["dev"]
    return next(str(one).removeprefix(name) for one in development if one.startswith(f"{name}>"))


if __name__ == "__main__":
    sys.stdout.write(page())
