"""From one line of configuration to a tree that nobody can change: fetched behind walls, judged, named by its content.

The face is judgement and light; what fetches (`installer`) is imported where something is installed.
"""

from sekisho.install.names import Suspicion, suspicion
from sekisho.install.package import PackageSpec, read_package
from sekisho.install.settings import NPM_REGISTRY, PYPI_INDEX, InstallSettings, check_registry

__all__ = [
    "NPM_REGISTRY",
    "PYPI_INDEX",
    "InstallSettings",
    "PackageSpec",
    "Suspicion",
    "check_registry",
    "read_package",
    "suspicion",
]
