"""What the suite runs as "the client": a gateway pointed at the scenario's server, and the scenario's calls through it.

The suite starts it once for each scenario with the server's URL as last argument, and tells it the scenario, its
revision and what it gives a client in the environment. Whether the upstream half behaves is for the suite to judge;
the calls come from the SDK's client, in the era of the revision.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from tests.conformance.cells import configuration, gateway

MODERN: Final = "2026-07-28"
PLUGIN: Final = "peer"
CALL_S: Final = 20.0
PATIENCE_S: Final = 15.0  # some scenarios want the login to be refused: their plugin never stands
METADATA_URL: Final = "https://conformance-test.local/client-metadata.json"
BROWSER: Final = Path(__file__).with_name("browser.py")
CALLS: Final[Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]] = {
    "tools_call": [("add_numbers", {"a": 5, "b": 3})],
    "elicitation-sep1034-client-defaults": [("test_client_elicitation_defaults", {})],
    "sse-retry": [("test_reconnection", {})],
    "http-standard-headers": [("test_headers", {}), ("my-hyphenated-tool", {})],
    "sep-2322-client-request-state": [
        ("test_mrtr_echo_state", {}),
        ("test_mrtr_unrelated", {}),
        ("test_mrtr_no_state", {}),
        ("test_mrtr_no_result_type", {}),
    ],
    "json-schema-2020-12-preservation": [("json_schema_echo", {})],
}
INVALID: Final = (
    *("empty_header", "object_header", "array_header", "null_header", "number_header"),
    *("duplicate_same_case", "duplicate_diff_case", "space_in_name", "colon_in_name", "non_ascii_name"),
    "control_char_name",
)


def calls(scenario: str, context: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The calls of a scenario, in order."""
    if scenario.startswith("auth/"):
        return [("test-tool", {})]
    if scenario == "http-invalid-tool-headers":
        return [("valid_tool", {"region": "here"}), *((f"invalid_{name}", {}) for name in INVALID)]
    given = [(one["name"], without_nulls(one.get("arguments", {}))) for one in context.get("toolCalls", ())]
    return given or list(CALLS.get(scenario, ()))


def without_nulls(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The gate refuses a null where the tool's schema wants a boolean, before it leaves; who meets that leaves it out."""
    return {name: value for name, value in arguments.items() if value is not None}


def login(scenario: str, context: Mapping[str, Any], folder: Path) -> str:
    """The plugin's `oauth` table: what an operator would write who was given this context."""
    if not scenario.startswith("auth/"):
        return ""
    lines = ['grant = "authorization_code"', f"browser = {json.dumps([sys.executable, str(BROWSER)])}"]
    if "client_secret" in context:
        secret = folder / "client-secret"
        secret.write_text(context["client_secret"])
        secret.chmod(0o600)
        lines += [f"client_secret_path = {json.dumps(str(secret))}"]
        lines += [f"{key} = {json.dumps(context[key])}" for key in ("client_id", "issuer") if key in context]
    else:
        lines += ["dynamic_registration = true", f"client_metadata_url = {json.dumps(METADATA_URL)}"]
    return "[plugins.servers.oauth]\n" + "\n".join(lines) + "\n"


async def accept(context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
    """A person who accepts every form as it is."""
    schema = params.requested_schema if isinstance(params, types.ElicitRequestFormParams) else {}
    properties = schema.get("properties", {})
    content = {name: one["default"] for name, one in properties.items() if "default" in one}
    return types.ElicitResult(action="accept", content=content or {"confirmed": True})


async def drive(url: str, token: str, scenario: str, revision: str, context: Mapping[str, Any]) -> None:
    """List everything, then make the calls; a call that is refused is the scenario's business."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=CALL_S) as http:
        transport = streamable_http_client(url, http_client=http)
        mode = MODERN if revision == MODERN else "legacy"
        async with Client(transport, mode=mode, elicitation_callback=accept) as client:
            await client.list_tools()
            for name, arguments in calls(scenario, context):
                try:
                    await asyncio.wait_for(client.call_tool(name, dict(arguments)), CALL_S)
                except MCPError as error:
                    sys.stderr.write(f"{name}: {error}\n")
            if scenario == "http-standard-headers":
                for resource in (await client.list_resources()).resources:
                    await client.read_resource(resource.uri)
                await client.get_prompt("test_prompt")


def main() -> int:
    """One scenario."""
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    revision = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    with tempfile.TemporaryDirectory(prefix="conformance-client-") as name:
        folder = Path(name)
        lines = f"upstream = {json.dumps(sys.argv[-1])}\n" + login(scenario, context, folder)
        tools = [tool for tool, _ in calls(scenario, context)] or ["lookup_user"]
        text = configuration(PLUGIN, tools, lines, start_s=PATIENCE_S)
        with gateway(text, folder, PATIENCE_S) as ready:
            url = str(ready["url"]).removesuffix("/mcp") + f"/p/{PLUGIN}/mcp"
            token = Path(ready["token_file"]).read_text().strip()
            asyncio.run(drive(url, token, scenario, revision, context))
    return 0


if __name__ == "__main__":
    sys.exit(main())
