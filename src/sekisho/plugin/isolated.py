"""The class a plugin is made of: `initialize_isolated` before anything else, `execute_tool_sandboxed` for every call.

Guarantees
- no tool runs before the plugin has looked at its walls and found them as told;
- a tool sees only parameters that fit what it declared, and nothing leaves it unchecked;
- whatever a tool raises, a stranger reads a code and words of an author, never a traceback, a path or a secret.

Knows no transport; `stdio` serves it, and tests call it directly.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar, Final

from sekisho.plugin.call import Call
from sekisho.plugin.faults import Cancelled, Internal, NotFound, PluginFault, WallsDiffer
from sekisho.plugin.results import Redaction, ToolResult, failure, finish
from sekisho.plugin.tool import Tool, declared
from sekisho.plugin.walls import SandboxConfig

__all__ = ["IsolatedPlugin", "ToolUnknown", "unforeseen"]

MAX_REFERENCE: Final = 8
# What sounds like a secret is treated as one, also when the author forgot to say so.
_SECRET_NAME: Final = re.compile(
    r"PASSWORD|PASSPHRASE|PASSWD|SECRET|TOKEN|CREDENTIAL|AUTHORIZATION|(API|PRIVATE|ACCESS)_?KEY|(^|_)PASS(_|$)"
)


class ToolUnknown(NotFound):
    """No tool of this plugin has that name."""


class IsolatedPlugin:
    """Subclass it, give it a name, decorate its tools with `@tool`, and `serve` it.

    Attributes:
        name, version, instructions: what clients are told.
        requires_walls: refuse to work where there are none; leave it False while you write the plugin.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "0.1.0"
    instructions: ClassVar[str | None] = None
    requires_walls: ClassVar[bool] = False

    def __init__(self, tools: Mapping[str, Tool] | None = None) -> None:
        """`tools` are those of a plugin that does not write them as methods."""
        self.redaction: Final = Redaction()
        self.tools: Final[Mapping[str, Tool]] = declared(self) if tools is None else tools
        self.sandbox = SandboxConfig()
        self._is_ready = False

    def initialize_isolated(self, sandbox_config: SandboxConfig) -> None:
        """Look at the walls, take up the settings. Override it for your own, and call this first.

        Raises:
            WallsDiffer: the walls are not as told, or there are none and the plugin wants some.
        """
        if self.requires_walls and not sandbox_config.has_walls:
            raise WallsDiffer("this plugin runs behind walls only")
        sandbox_config.check()
        for name, value in sandbox_config.environment.items():
            if _SECRET_NAME.search(name.upper()):
                self.redaction.add(value)
        self.sandbox = sandbox_config
        self._is_ready = True

    def secret(self, name: str) -> str:
        """A setting whose value never leaves, whatever it is called."""
        value = self.sandbox.setting(name)
        self.redaction.add(value)
        return value

    def execute_tool_sandboxed(
        self, tool_name: str, parameters: Mapping[str, object], call: Call | None = None
    ) -> ToolResult:
        """Run one tool; a failure of its work is a result that says so.

        Raises:
            ToolUnknown: there is no such tool.
            Cancelled: the caller withdrew the call.
            WallsDiffer: the plugin has not been initialized.
        """
        tool = self.tools.get(tool_name)
        if tool is None:
            raise ToolUnknown("no tool has this name")
        if not self._is_ready:
            raise WallsDiffer("the plugin has not looked at its walls yet")
        call = Call() if call is None else call
        try:
            run = tool.bound(parameters, call)
            call.check()
            value = _run_async(run(), call) if tool.is_async else run()
            call.check()
            return finish(value, tool.gives, self.redaction)
        except PluginFault as fault:
            call.check()  # what broke because it was cancelled is not a failure
            return failure(fault, self.redaction)
        # The top of a call: whatever a tool of a stranger raises ends here, in words of ours; sys.exit() too, which would
        # end this thread and leave the caller without an answer.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            call.check()
            return failure(unforeseen(f"tool={tool_name}", error), self.redaction)


def _run_async(work: Coroutine[Any, Any, object], call: Call) -> object:
    import asyncio  # noqa: PLC0415 - a plugin without async tools starts in half the time

    async def watched() -> object:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - we are inside one

        def cancel() -> None:
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                return  # the loop has ended: the work was done at the same moment

        call.on_cancel(cancel)
        return await work

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        raise Cancelled("the tool gave up waiting") from None


def unforeseen(what: str, error: BaseException) -> Internal:
    """Tells the plugin's own log where, and never what the error said: messages carry data and secrets."""
    reference = uuid.uuid4().hex[:MAX_REFERENCE]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
    sys.stderr.write(f"plugin_failed {what} reference={reference} kind={type(error).__name__} at={where}\n")
    return Internal(f"the tool failed; its log has more under {reference}")
