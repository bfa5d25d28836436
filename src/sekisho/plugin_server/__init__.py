"""plugin_server: the other end: one plugin, its wall, its MCP session."""

from sekisho.plugin_server.upstream import Upstream
from sekisho.plugin_server.walled import connect_url, connect_walled
from sekisho.plugin_server.warden import Warden, WardenRules

__all__ = ["Upstream", "Warden", "WardenRules", "connect_url", "connect_walled"]
