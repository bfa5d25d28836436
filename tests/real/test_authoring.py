"""A plugin written with `sekisho.plugin`, behind real walls: in both eras, with news on the way, sure of its walls."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import pytest
from anyio import to_thread
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from tests.real.conftest import House, common, plugin, quoted, until

import sekisho

pytestmark = [pytest.mark.real, pytest.mark.requirement("A3.1")]

SOURCE: Final = Path(sekisho.__file__).parents[1]
PLUGIN: Final = textwrap.dedent(
    """
    import os, sys
    from pathlib import Path
    from typing import Annotated, TypedDict
    from sekisho.plugin import Call, IsolatedPlugin, NotFound, SandboxConfig, Text, serve, tool

    class Walls(TypedDict):
        isolation: str
        memory_mb: int
        writable: list[str]

    class Bench(IsolatedPlugin):
        name = "bench"
        requires_walls = True

        @tool(read_only=True)
        def walls(self) -> Walls:
            "What it was told, and found to be so."
            told = self.sandbox
            told.check()
            return {
                "isolation": told.isolation, "memory_mb": told.max_memory_mb, "writable": list(told.writable_paths)
            }

        @tool(read_only=True)
        def mistrust(self, path: Annotated[str, Text(max_chars=200)]) -> str:
            "Whether it notices that it was told something else than is so."
            SandboxConfig(isolation="strict", read_only_paths=(path,)).check()
            return "believed"

        @tool()
        async def count(self, to: int, call: Call) -> str:
            "Count."
            for one in range(1, to + 1):
                call.progress(one, to, "counting")
            return "counted"

        @tool()
        def rest(self, call: Call) -> str:
            "Rest until nobody waits, and leave a mark."
            call.progress(1)
            try:
                call.wait(600)
            finally:
                Path(self.sandbox.writable_paths[0], "left").write_text("left")
            return "never"

        @tool(read_only=True)
        def fail(self, how: Annotated[str, Text(max_chars=9)]) -> str:
            "Fail."
            if how == "known":
                raise NotFound("it is not here")
            raise RuntimeError("a secret in a message: hunter2")

    sys.exit(serve(Bench(), environment=os.environ))
    """
)
TOOLS: Final = ("walls", "mistrust", "count", "rest", "fail")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, walls: None) -> Iterator[tuple[House, Path]]:
    """A house with the plugin, and the folder it may write."""
    folder = tmp_path_factory.mktemp("authoring")
    script, writable = folder / "bench.py", folder / "writable"
    script.write_text(PLUGIN)
    writable.mkdir()
    tables = (
        f"runtime_paths = [{quoted(SOURCE)}]\n"
        "[plugins.servers.sandbox]\nmax_memory_mb = 300\n"
        "[plugins.servers.filesystem_policy]\n"
        f"read_only_paths = [{quoted(script)}]\nwritable_paths = [{quoted(writable)}]\n"
    )
    house = House(folder, common() + plugin("bench", script, operations=TOOLS, more=tables))
    yield house, writable
    house.stop()


def _client(house: House, mode: str) -> tuple[httpx2.AsyncClient, Client]:
    headers = {"Authorization": f"Bearer {house.token}"}
    http = httpx2.AsyncClient(verify=house.context, headers=headers, timeout=30)
    return http, Client(streamable_http_client(house.url, http_client=http), mode=mode)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_it_knows_its_walls_and_tells_its_progress(written: tuple[House, Path], mode: str) -> None:
    house, writable = written
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    http, made = _client(house, mode)
    async with http, made as client:
        found: Any = await client.call_tool("bench__walls", {})
        assert found.structured_content == {
            "isolation": "strict",
            "memory_mb": 300,
            "writable": [str(writable)],
        }
        await client.call_tool("bench__count", {"to": 3}, progress_callback=hear)
    assert heard == [1, 2, 3]


def test_it_notices_walls_that_are_not_as_told(written: tuple[House, Path]) -> None:
    house, writable = written
    assert house.call("bench__mistrust", path="/usr/bin").text == "believed"
    for other in (str(writable), "/tmp", str(writable.parent / "other")):
        assert house.call("bench__mistrust", path=other).text.startswith("[walls_differ]"), other


def test_what_goes_wrong_is_told_by_code_and_without_secrets(written: tuple[House, Path]) -> None:
    house, _ = written
    assert house.call("bench__fail", how="known").text == "[not_found] it is not here"
    unknown = house.call("bench__fail", how="other").text
    assert unknown.startswith("[internal] the tool failed")
    assert "hunter2" not in unknown


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_call_that_was_withdrawn_ends_inside_the_walls(
    written: tuple[House, Path], mode: str
) -> None:
    house, writable = written
    mark = writable / "left"
    mark.unlink(missing_ok=True)
    http, made = _client(house, mode)
    async with http, made as client:
        with anyio.move_on_after(20) as scope:

            async def begun(progress: float, total: float | None, message: str | None) -> None:
                scope.cancel()

            await client.call_tool("bench__rest", {}, progress_callback=begun)
        await to_thread.run_sync(until, mark.exists, "the tool leaves its mark", 10)
        walls: Any = await client.call_tool("bench__walls", {})  # the plugin lives, and answers the next one
        assert walls.structured_content["isolation"] == "strict"
