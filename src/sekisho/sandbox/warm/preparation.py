"""Whether a plugin can be forked by a fork server, and what that server is then told to import.

Guarantees that only a command which Python runs is prepared, and only where an import is saved; everything else starts in
the ordinary way. Starts nothing.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from sekisho.sandbox.plans.spec import INNER_HOME, SandboxSpec, WarmStart
from sekisho.sandbox.warm.interpreter import PythonCommand, read_command, uses_sdk

__all__ = ["DEFAULT_PRELOAD", "make_ready"]

ZYGOTE: Final = Path(__file__).with_name("zygote.py")
DEFAULT_PRELOAD: Final = (
    "anyio._backends._asyncio",
    "mcp.server",
    "mcp.server.stdio",
    "mcp.server.fastmcp",
    "mcp.server.mcpserver",
)
MAX_MESSAGE_BYTES: Final = 64 << 10


def make_ready(
    spec: SandboxSpec, program: tuple[str, ...], preload: tuple[str, ...] | None
) -> tuple[SandboxSpec, bytes] | None:
    """The spec and the first message of a fork server, for a command that Python runs; else None.

    Args:
        spec: the plugin.
        program: its command with an absolute program, as the host finds it.
        preload: modules to import; None stands for the SDK, if the plugin uses it.
    """
    command = read_command(program)
    if command is None or preload == ():
        return None
    if preload is None and not uses_sdk(command, spec.cwd or INNER_HOME):
        return None
    message = _first_message(command, DEFAULT_PRELOAD if preload is None else preload)
    if len(message) > MAX_MESSAGE_BYTES:
        return None
    room = sum(len(os.fsencode(word)) + 1 for word in command.words)
    warm = WarmStart(interpreter=command.interpreter, code=ZYGOTE.read_bytes(), room=room)
    return replace(spec, warm=warm), message


def _first_message(command: PythonCommand, preload: tuple[str, ...]) -> bytes:
    return json.dumps(
        {
            "mode": command.mode,
            "target": command.target,
            "argv": command.argv,
            "command": command.words,
            "preload": preload,
            "scratch": ["/tmp", "/dev/shm", INNER_HOME],  # noqa: S108 - inside the wall
        }
    ).encode()
