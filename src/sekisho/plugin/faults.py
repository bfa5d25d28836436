"""Every way a tool may fail, on one page: a closed family whose codes clients and models may rely on.

Guarantees that a fault carries a stable code, words chosen by the author for strangers, and nothing else: no traceback,
no cause, no path. What is not of this family never reaches a client; it becomes `Internal`, whose words are ours.

These are a plugin's words about its own work. What Sekisho says of a plugin has its own page (`sekisho.errors`), and
knows nothing of these.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "Cancelled",
    "Conflict",
    "Internal",
    "InvalidParameters",
    "NotFound",
    "Overloaded",
    "PermissionRefused",
    "PluginFault",
    "RateLimited",
    "ResultInvalid",
    "SettingMissing",
    "TooLarge",
    "Unreachable",
    "UpstreamFault",
    "WallsDiffer",
]


class PluginFault(Exception):
    """The root of all faults. `message` is read by strangers: never put a secret or a foreign text into it."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"


class InvalidParameters(PluginFault):
    """The parameters do not fit what the tool declares; the message says which and why."""

    code = "invalid_parameters"


class NotFound(PluginFault):
    """What was asked for is not there."""

    code = "not_found"


class PermissionRefused(PluginFault):
    """The other side knows us, or does not, and says no."""

    code = "permission_refused"


class Conflict(PluginFault):
    """What was asked does not fit the present state of the other side."""

    code = "conflict"


class RateLimited(PluginFault):
    """The other side wants fewer requests; `retry_after_s` says when, if it said so."""

    code = "rate_limited"


class Unreachable(PluginFault):
    """The other side cannot be reached now."""

    code = "unreachable"


class UpstreamFault(PluginFault):
    """The other side answered with something that we cannot take for an answer."""

    code = "upstream_error"


class TooLarge(PluginFault):
    """A parameter, or what came of it, is larger than this tool carries."""

    code = "too_large"


class ResultInvalid(PluginFault):
    """The tool gave something else than it declared: a mistake of its author."""

    code = "result_invalid"


class Overloaded(PluginFault):
    """Too many calls run at once."""

    code = "overloaded"


class Cancelled(PluginFault):
    """The caller withdrew the call. It is not answered."""

    code = "cancelled"


class SettingMissing(PluginFault):
    """A setting the plugin cannot work without is not in its environment."""

    code = "setting_missing"


class WallsDiffer(PluginFault):
    """The walls are not what the plugin was told they are; it runs no tool."""

    code = "walls_differ"


class Internal(PluginFault):
    """Something went wrong that nobody foresaw; the plugin's own log has more under the same reference."""

    code = "internal"
