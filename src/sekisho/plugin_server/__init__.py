"""plugin_server: the other end: one plugin, its wall, its MCP session."""

from sekisho.plugin_server.authoriser import Authoriser, StaticHeaders
from sekisho.plugin_server.instances import InstanceRules, Instances
from sekisho.plugin_server.naming_package import OfPackage
from sekisho.plugin_server.remote import Reach, connect_url
from sekisho.plugin_server.resting import Resting
from sekisho.plugin_server.roots import told_roots
from sekisho.plugin_server.site import Site, trusting
from sekisho.plugin_server.upstream import Upstream
from sekisho.plugin_server.walled import connect_walled
from sekisho.plugin_server.warden import Publisher, Warden, WardenRules

__all__ = [
    "Authoriser",
    "InstanceRules",
    "Instances",
    "OfPackage",
    "Publisher",
    "Reach",
    "Resting",
    "Site",
    "StaticHeaders",
    "Upstream",
    "Warden",
    "WardenRules",
    "connect_url",
    "connect_walled",
    "told_roots",
    "trusting",
]
