"""Everything one run has started: upstreams, gateways, certificates; each once, on first use, all ended together."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from bench.credentials import Credentials, make_credentials
from bench.processes import BenchFailed, first_line, running
from bench.tools import UPSTREAM
from bench.way import Way

__all__ = ["Stage", "Start"]

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Stage:
    """Owns processes through `stack`; `folder` holds their files."""

    folder: Path
    stack: ExitStack
    _made: dict[Hashable, object] = field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Make it on first use. A failure is remembered too, so that it costs its time only once."""
        if key not in self._made:
            try:
                self._made[key] = make()
            except (BenchFailed, OSError) as error:
                self._made[key] = BenchFailed(str(error))
        found = self._made[key]
        if isinstance(found, BenchFailed):
            raise found
        return cast(T, found)

    def way(self, name: str, start: Start) -> Way:
        """The running gateway of that name; raises BenchFailed with what is missing."""
        return self.once(("way", name), lambda: start(self))

    def upstream(self, number: int = 0, *, tools: int = 4, groups: int = 1) -> int:
        """The port of an MCP server of ours."""

        def start() -> int:
            log = self.folder / f"upstream-{number}-{tools}.txt"
            command: list[str | Path] = [UPSTREAM, "--tools", str(tools), "--groups", str(groups)]
            process = self.stack.enter_context(running(command, log))
            return int(first_line(process, log))

        return self.once(("upstream", number, tools, groups), start)

    @property
    def credentials(self) -> Credentials:
        """Certificates and tokens of this run."""
        return self.once("credentials", lambda: make_credentials(self.make_folder("credentials")))

    def make_folder(self, name: str) -> Path:
        """A folder of its own for one server."""
        made = self.folder / name
        made.mkdir()
        return made


Start = Callable[[Stage], Way]
