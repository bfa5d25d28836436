"""What a plugin is written with: `IsolatedPlugin`, `@tool`, typed parameters, typed faults, and `serve`.

Stands inside the walls, in processes that start thousands of times: standard library only, and no other room.
"""

from sekisho.plugin.call import Call
from sekisho.plugin.faults import (
    Cancelled,
    Conflict,
    InvalidParameters,
    NotFound,
    PermissionRefused,
    PluginFault,
    RateLimited,
    SettingMissing,
    TooLarge,
    Unreachable,
    UpstreamFault,
    WallsDiffer,
)
from sekisho.plugin.isolated import IsolatedPlugin, ToolUnknown
from sekisho.plugin.results import Redaction, ToolResult
from sekisho.plugin.shapes import FilePath, Range, Size, Text, WebUrl
from sekisho.plugin.stdio import serve
from sekisho.plugin.tool import tool
from sekisho.plugin.walls import SANDBOX_VARIABLE, SandboxConfig
from sekisho.plugin.web import Reply, WebClient

__all__ = [
    "SANDBOX_VARIABLE",
    "Call",
    "Cancelled",
    "Conflict",
    "FilePath",
    "InvalidParameters",
    "IsolatedPlugin",
    "NotFound",
    "PermissionRefused",
    "PluginFault",
    "Range",
    "RateLimited",
    "Redaction",
    "Reply",
    "SandboxConfig",
    "SettingMissing",
    "Size",
    "Text",
    "TooLarge",
    "ToolResult",
    "ToolUnknown",
    "Unreachable",
    "UpstreamFault",
    "WallsDiffer",
    "WebClient",
    "WebUrl",
    "serve",
    "tool",
]
