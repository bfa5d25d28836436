"""One schema for the two configuration files, read once.

Guarantees that what loads can be honoured: unknown keys, wrong types and impossible values are refused with
file, line, key and remedy. Each setting is declared once, with its meaning and its safe default. This room
reads no environment variable and starts nothing; `assembly` stands above it and hands each room its own part.
"""

from sekisho.config.auth import Auth, AuthIssuer
from sekisho.config.core import Approval, Audit, CoreConfig, Inspection, Security
from sekisho.config.core_server import CoreServer
from sekisho.config.fetching import fetched_at_start
from sekisho.config.filesystem_policy import FilesystemPolicy
from sekisho.config.install import Install
from sekisho.config.limits import Limits, PluginLimits
from sekisho.config.load import load_any, load_core, load_plugin
from sekisho.config.network_policy import NetworkPolicy
from sekisho.config.paths import check_paths
from sekisho.config.plugin import PluginConfig, PluginServer
from sekisho.config.plugin_entry import PluginEntry, Plugins
from sekisho.config.reference import reference
from sekisho.config.sandbox import Sandbox
from sekisho.config.show import effective, warnings_of
from sekisho.config.values import BindAddress
from sekisho.config.workload import Workload

__all__ = [
    "Approval",
    "Audit",
    "Auth",
    "AuthIssuer",
    "BindAddress",
    "CoreConfig",
    "CoreServer",
    "FilesystemPolicy",
    "Inspection",
    "Install",
    "Limits",
    "NetworkPolicy",
    "PluginConfig",
    "PluginEntry",
    "PluginLimits",
    "PluginServer",
    "Plugins",
    "Sandbox",
    "Security",
    "Workload",
    "check_paths",
    "effective",
    "fetched_at_start",
    "load_any",
    "load_core",
    "load_plugin",
    "reference",
    "warnings_of",
]
