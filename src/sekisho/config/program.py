"""What one plugin is, how it is run and how often: keys that a row of `plugins.servers` and `plugin_server` share.

Guarantees that one thing only is named to be run or reached: a command, a package or a server at a URL.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sekisho.config.field import (
    Kind,
    Wrong,
    choice,
    flag,
    listed,
    number,
    path,
    setting,
    text,
    whole,
)
from sekisho.config.install import arguments, check_package, package_name, program_name
from sekisho.config.upstream import header_references
from sekisho.config.values import client_requests, command_words, environment_name, trace_names, web_address

__all__ = ["Program", "module_name"]


def module_name() -> Kind[str]:
    """A Python module as `import` names it."""
    return text(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", "a Python module such as mcp.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is started, or reached at a URL, as one plugin."""

    command: tuple[str, ...] = setting(
        command_words(), "Program and arguments of an MCP server on standard input and output.", default=()
    )
    package: str | None = setting(
        package_name(),
        'A package to install and run (sekisho install NAME): "npm:name@1.2.3" or "pypi:name==1.2.3".',
        default=None,
    )
    entry: str | None = setting(
        program_name(), "Which of the package's programs is run; else its own.", default=None
    )
    arguments: tuple[str, ...] = setting(arguments(), "Arguments of that program.", default=())
    upstream: str | None = setting(
        web_address("http", "https", with_path=True),
        "An MCP server at a URL: Streamable HTTP, or HTTP with SSE.",
        default=None,
    )
    upstream_ca_path: Path | None = setting(
        path(), "Authority of that server's certificate, PEM; else the system's.", default=None
    )
    upstream_headers: tuple[tuple[str, str], ...] = setting(
        header_references(),
        "Headers sent to it, by name; each value says where it is found, as in secrets.",
        default=(),
    )
    upstream_private: bool = setting(
        flag(), "Whether the name in upstream may lead to a private network.", default=False
    )
    working_directory: Path | None = setting(path(), "Folder the command starts in.", default=None)
    environment: tuple[str, ...] = setting(
        listed(environment_name()), "Variables passed on from sekisho's own environment, by name.", default=()
    )
    runtime_paths: tuple[Path, ...] = setting(
        listed(path()), "Interpreters and libraries it needs, shown read-only.", default=()
    )
    warm: bool = setting(
        flag(),
        "Whether a Python plugin is forked from an interpreter that waits, imports done, inside its walls.",
        default=True,
    )
    preload: tuple[str, ...] | None = setting(
        listed(module_name()),
        "Python modules that interpreter imports; else the MCP SDK, if the plugin uses it.",
        default=None,
    )
    runtime: Literal["auto", "deno", "wasm"] = setting(
        choice("auto", "deno", "wasm"),
        'What runs the command inside the walls: "deno" with permissions of its own, "wasm" for a module; "auto" looks.',
        default="auto",
    )
    client_requests: tuple[str, ...] = setting(
        client_requests(),
        "What it may ask of a client in the midst of a call; core and plugin server must both allow it.",
        default=("elicitation",),
    )
    trace_context: tuple[str, ...] = setting(
        trace_names(),
        "Headers of a client that its calls carry in _meta, and a server at a URL gets as headers again; core and "
        "plugin server must both name them. Baggage may hold anything.",
        default=(),
    )
    instances: Literal["shared", "client", "session"] = setting(
        choice("shared", "client", "session"),
        'Whose calls one process of it serves: of all clients, of one "client", or of one "session" (legacy clients); '
        "core and plugin server must agree.",
        default="shared",
    )
    max_instances: int = setting(
        whole(1, 256),
        "Most processes of it beside the one that is listed; each may use as much as its sandbox says.",
        default=8,
    )
    instance_idle_seconds: float = setting(
        number(0.1, 86_400),
        "Time without calls after which the process of a client or session ends.",
        default=300.0,
    )

    def check_program(self) -> None:
        """Refuse what cannot be run as it is stated. Raises Wrong."""
        if self.upstream_headers and not self.upstream:
            raise Wrong("stands without upstream", remedy="add upstream", key="upstream_headers")
        if self.command and self.upstream:
            raise Wrong("stands beside command; expected one of the two", remedy="remove one", key="upstream")
        if "tracestate" in self.trace_context and "traceparent" not in self.trace_context:
            raise Wrong(
                "names tracestate without traceparent, which it belongs to",
                remedy='add "traceparent"',
                key="trace_context",
            )
        check_package(
            self.package,
            self.entry,
            self.arguments,
            command=self.command,
            upstream=self.upstream,
            runtime=self.runtime,
        )
