"""Finds what every command starts from: the configuration file, the home folder, the lock file.

Guarantees one order everywhere: for the home folder `$SEKISHO_HOME`, then `home` in the file, then the user's
data folder. This module is where the environment is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from sekisho.config import CoreConfig, PluginConfig, Workload, load_any, load_core
from sekisho.errors import Misconfigured

__all__ = [
    "DEFAULT_CONFIG",
    "ConfigFile",
    "Json",
    "Site",
    "environment",
    "find",
    "find_any",
    "home_of",
    "person",
    "workload_of",
]

DEFAULT_CONFIG: Final = Path("sekisho.toml")

ConfigFile = Annotated[Path, Parameter(name="--config", help="The core file.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print for a program.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One installation: its configuration, its home folder, its lock file."""

    config: CoreConfig
    path: Path
    home: Path

    @property
    def lock(self) -> Path:
        """The lock file."""
        from sekisho.assembly.places import Places  # noqa: PLC0415 - not every command needs it

        return Places(home=self.home, config=self.path).lock

    @property
    def packages(self) -> Path:
        """The folder of installed packages."""
        from sekisho.assembly.places import Places  # noqa: PLC0415

        return Places(home=self.home, config=self.path).packages

    @property
    def keys(self) -> Path:
        """The key folder."""
        from sekisho.assembly.places import Places  # noqa: PLC0415

        return Places(home=self.home, config=self.path).keys


def find(path: Path) -> Site:
    """Read the core file at `path`."""
    config = load_core(path)
    return Site(config=config, path=path.absolute(), home=home_of(config))


def find_any(path: Path) -> CoreConfig | PluginConfig:
    """Read a core file or a plugin file, whichever it is."""
    return load_any(path)


def workload_of(found: CoreConfig | PluginConfig, name: str) -> Workload:
    """The plugin a person named, in whichever file it stands."""
    if isinstance(found, CoreConfig):
        return found.plugin(name).workload
    if found.name != name:
        raise Misconfigured("config_invalid", f"this file is about {found.name}", remedy=f"type {found.name}")
    return found.workload


def home_of(config: CoreConfig | PluginConfig) -> Path:
    """The home folder in use."""
    stated = os.environ.get("SEKISHO_HOME")
    if stated:
        return Path(stated).absolute()
    if config.home is not None:
        return config.home
    from platformdirs import user_data_path  # noqa: PLC0415 - only when nobody said otherwise

    return user_data_path("sekisho")


def person() -> str:
    """Who types: written beside an approval, and only as good as this machine's login."""
    for name in ("SUDO_USER", "LOGNAME", "USER"):
        if os.environ.get(name):
            return os.environ[name]
    return f"uid {os.getuid()}"


def environment() -> Mapping[str, str]:
    """Our own environment; a plugin gets only the parts its configuration names."""
    return os.environ
