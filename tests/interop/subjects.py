"""The servers and clients that are run, each one row: what it is, how it starts, and what is asked of it.

Data only. The page `docs/reference/interop.md` is made from these rows and the pinned versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["CLIENTS", "SERVERS", "Call", "Client", "Place", "Server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where things are in this run."""

    node: Path
    node_servers: Path
    python_servers: Path
    data: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One harmless call that needs no network; its answer must show `shows` and equal the server's own."""

    tool: str
    arguments: Callable[[Place], dict[str, Any]] = lambda _: {}
    shows: str
    same: bool = True  # False: the answer has the time of day in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One real server behind the gateway."""

    name: str
    package: str
    start: Callable[[Place], list[str]]
    tools: int
    calls: tuple[Call, ...] = ()
    prompt: tuple[str, dict[str, str]] | None = None
    resource: str = ""
    settings: Callable[[Place], Mapping[str, str]] = lambda _: {}
    writable: Callable[[Place], list[Path]] = lambda _: []
    readable: Callable[[Place], list[Path]] = lambda _: []
    is_dual: bool = False
    note: str = ""

    def environment(self, place: Place) -> dict[str, str]:
        """The variables that its settings become: `url` of `db` is DB_URL."""
        return {f"{self.name}_{key}".upper(): value for key, value in self.settings(place).items()}


def _npm(path: str, *words: str) -> Callable[[Place], list[str]]:
    return lambda place: [str(place.node), str(place.node_servers / "node_modules" / path), *words]


def _official(name: str, *words: str) -> Callable[[Place], list[str]]:
    return _npm(f"@modelcontextprotocol/server-{name}/dist/index.js", *words)


def _python(name: str, *words: str) -> Callable[[Place], list[str]]:
    return lambda place: [str(place.python_servers / "bin" / name), *words]


SERVERS: Final = (
    Server(
        name="everything",
        package="npm:@modelcontextprotocol/server-everything",
        start=_official("everything"),
        tools=14,
        calls=(
            Call(tool="echo", arguments=lambda _: {"message": "through the gate"}, shows="through the gate"),
            Call(tool="get-sum", arguments=lambda _: {"a": 2, "b": 40}, shows="42"),
            Call(tool="get-tiny-image", shows="image/png"),
            Call(
                tool="get-structured-content",
                arguments=lambda _: {"location": "Chicago"},
                shows="structuredContent",
            ),
            Call(tool="get-resource-links", arguments=lambda _: {"count": 2}, shows="resource_link"),
        ),
        prompt=("args-prompt", {"city": "Hakone", "state": "Kanagawa"}),
        resource="demo://resource/static/document/features.md",
        note="resources, templates, prompts, completion, logging, subscriptions, elicitation",
    ),
    Server(
        name="files",
        package="npm:@modelcontextprotocol/server-filesystem",
        start=lambda place: [*_official("filesystem")(place), str(place.data)],
        tools=14,
        calls=(
            Call(tool="list_directory", arguments=lambda place: {"path": str(place.data)}, shows="notes.txt"),
            Call(
                tool="read_text_file",
                arguments=lambda place: {"path": str(place.data / "notes.txt")},
                shows="a barrier",
            ),
        ),
        writable=lambda place: [place.data],
        note="asks for roots",
    ),
    Server(
        name="memory",
        package="npm:@modelcontextprotocol/server-memory",
        start=_official("memory"),
        tools=9,
        calls=(Call(tool="read_graph", shows="hakone"),),
        resource="memory://knowledge-graph",
        settings=lambda place: {"file_path": str(place.data / "memory.jsonl")},
        writable=lambda place: [place.data],
    ),
    Server(
        name="git",
        package="pypi:mcp-server-git",
        start=_python("mcp-server-git"),
        tools=12,
        calls=(
            Call(
                tool="git_log",
                arguments=lambda place: {"repo_path": str(place.data / "repo")},
                shows="first stone",
            ),
        ),
        readable=lambda place: [place.data / "repo"],
        is_dual=True,
    ),
    Server(
        name="time",
        package="pypi:mcp-server-time",
        start=_python("mcp-server-time", "--local-timezone", "Asia/Tokyo"),
        tools=2,
        calls=(
            Call(
                tool="convert_time",
                arguments=lambda _: {
                    "source_timezone": "UTC",
                    "time": "12:00",
                    "target_timezone": "Asia/Tokyo",
                },
                shows="+9.0h",
                same=False,
            ),
        ),
        is_dual=True,
    ),
    Server(
        name="db",
        package="pypi:mcp-alchemy",
        start=_python("mcp-alchemy"),
        tools=4,
        calls=(
            Call(tool="all_table_names", shows="barrier"),
            Call(
                tool="execute_query",
                arguments=lambda _: {"query": "SELECT name FROM barrier"},
                shows="hakone",
            ),
        ),
        settings=lambda place: {"url": f"sqlite:///{place.data / 'barriers.sqlite'}"},
        writable=lambda place: [place.data],
        is_dual=True,
        note="on SQLite",
    ),
    Server(
        name="notion",
        package="npm:@notionhq/notion-mcp-server",
        start=_npm("@notionhq/notion-mcp-server/bin/cli.mjs"),
        tools=24,
        note="a list of 82 KB; its calls need the internet",
    ),
    Server(
        name="playwright",
        package="npm:@playwright/mcp",
        start=_npm("@playwright/mcp/cli.js"),
        tools=25,
        note="listed only; no browser is started",
    ),
    Server(
        name="github",
        package="npm:@modelcontextprotocol/server-github",
        start=_official("github"),
        tools=26,
        note="archived; knows only 2024-11-05; its calls need the internet",
    ),
    Server(
        name="postgres",
        package="npm:@modelcontextprotocol/server-postgres",
        start=_official("postgres", "postgresql://localhost/nobody"),
        tools=1,
        note="archived; knows only 2024-11-05; answers resources/list with an error when no database is there",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One real client in front of the gateway, driven by a script of `drivers/`."""

    name: str
    package: str
    driver: str
    set_name: str = ""  # the installed set its script runs in; "" is our own environment
    words: tuple[str, ...] = ()
    revision: str = "2025-11-25"  # the one it must end up with; "" where it does not say
    progress: bool = True
    elicitation: bool = True
    note: str = ""


CLIENTS: Final = (
    Client(
        name="mcp-modern",
        package="own:mcp",
        driver="official.py",
        words=("2026-07-28",),
        revision="2026-07-28",
    ),
    Client(name="mcp-auto", package="own:mcp", driver="official.py", words=("auto",), revision="2026-07-28"),
    Client(name="mcp-legacy", package="own:mcp", driver="official.py", words=("legacy",)),
    Client(
        name="fastmcp",
        package="pypi:fastmcp",
        driver="fastmcp_client.py",
        set_name="python-clients",
        revision="2026-07-28",
    ),
    Client(
        name="pydantic-ai",
        package="pypi:pydantic-ai-slim",
        driver="pydantic_ai_toolset.py",
        set_name="python-clients",
        revision="2026-07-28",
        elicitation=False,
        note="hands no question on when it speaks 2026-07-28, and says so",
    ),
    Client(
        name="langchain",
        package="pypi:langchain-mcp-adapters",
        driver="langchain_adapters.py",
        set_name="langchain",
        note="a new session for each call",
    ),
    Client(
        name="typescript-legacy",
        package="npm:@modelcontextprotocol/client",
        driver="typescript.mjs",
        set_name="node-clients",
        words=("legacy",),
    ),
    Client(
        name="typescript-modern",
        package="npm:@modelcontextprotocol/client",
        driver="typescript.mjs",
        set_name="node-clients",
        words=("auto",),
        revision="2026-07-28",
    ),
    Client(
        name="typescript-sdk-1",
        package="npm:@modelcontextprotocol/sdk",
        driver="typescript_1.mjs",
        set_name="node-clients",
    ),
    Client(
        name="inspector-legacy",
        package="npm:@modelcontextprotocol/inspector",
        driver="inspector.py",
        words=("legacy",),
        revision="",
        progress=False,
        elicitation=False,
        note="its command line",
    ),
    Client(
        name="inspector-modern",
        package="npm:@modelcontextprotocol/inspector",
        driver="inspector.py",
        words=("modern",),
        revision="",
        progress=False,
        elicitation=False,
        note="its command line",
    ),
    Client(
        name="mcp-remote",
        package="npm:mcp-remote",
        driver="through_remote.py",
        note="between a client on standard input and output and the gateway",
    ),
    Client(
        name="connect-legacy",
        package="own:mcp",
        driver="through_connect.py",
        words=("legacy",),
        note="over standard input and output, through `sekisho connect`",
    ),
    Client(
        name="connect-modern",
        package="own:mcp",
        driver="through_connect.py",
        words=("2026-07-28",),
        revision="2026-07-28",
        note="over standard input and output, through `sekisho connect`",
    ),
)
