"""The command line of the fixture."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from . import over_http, over_stdio
from .server import Server


def main(words: Sequence[str]) -> None:
    """Serve until stdin ends, or until killed."""
    parser = argparse.ArgumentParser(prog="conformance_server")
    parser.add_argument("--transport", choices=("stdio", "http"), default="stdio")
    parser.add_argument("--era", choices=("dual", "legacy", "modern"), default="dual")
    parser.add_argument("--port", type=int, default=0, help="HTTP: 0 takes a free one, which is printed")
    given = parser.parse_args(words)
    server = Server(given.era)
    if given.transport == "stdio":
        asyncio.run(over_stdio.serve(server))
    else:
        asyncio.run(over_http.serve(server, given.port))
