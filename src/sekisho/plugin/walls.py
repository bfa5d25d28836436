"""What a plugin is told about its walls, and whether the world around it is as told.

Guarantees that `check` believes nothing it can look at: the system call filter, the lost privileges, the network, and
each listed path. A plugin whose walls are weaker than it was told runs no tool. What cannot be seen from inside, such as
how much memory the host will grant, is not claimed.

The words come in one variable (`SEKISHO_SANDBOX`, JSON), which the plugin server writes with `as_text`. Without it there
are no walls, and `isolation` says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from sekisho.plugin.faults import SettingMissing, WallsDiffer

__all__ = ["NO_WALLS", "SANDBOX_VARIABLE", "SandboxConfig"]

SANDBOX_VARIABLE: Final = "SEKISHO_SANDBOX"
NO_WALLS: Final = "unsafe-none"
STRICT: Final = "strict"
MAX_TEXT: Final = 64 << 10
_PROC: Final = Path("/proc/self")
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """The walls and settings of one plugin. `environment` is everything it was given; its values may be secrets."""

    isolation: str = NO_WALLS
    max_memory_mb: int = 0
    max_cpu_percent: int = 0
    execution_timeout_s: float = 0.0
    allowed_domains: tuple[str, ...] = ()
    allow_localhost: bool = False
    read_only_paths: tuple[str, ...] = ()
    writable_paths: tuple[str, ...] = ()
    blocked_paths: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def has_walls(self) -> bool:
        """Whether anything stands around this process."""
        return self.isolation != NO_WALLS

    def setting(self, name: str, default: str | None = None) -> str:
        """One setting. Raises `SettingMissing` when it is not there and there is no default."""
        value = self.environment.get(name) or default
        if value is None:
            raise SettingMissing(f"the setting {name} is missing")
        return value

    def as_text(self) -> str:
        """What the plugin server puts into the variable; the environment is left out."""
        told = asdict(self)
        del told["environment"]
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> SandboxConfig:
        """What this process was told. Raises `WallsDiffer` when that cannot be read: a guess would be no check."""
        settings = {name: value for name, value in environment.items() if name != SANDBOX_VARIABLE}
        text = environment.get(SANDBOX_VARIABLE)
        if text is None:
            return cls(environment=settings)
        known = {one.name: one for one in fields(cls) if one.name != "environment"}
        try:
            told = json.loads(text[:MAX_TEXT])
            return cls(environment=settings, **{name: _read(known[name].type, told[name]) for name in known})
        except (ValueError, KeyError, TypeError):
            raise WallsDiffer(f"{SANDBOX_VARIABLE} cannot be read") from None

    def check(self) -> None:
        """Look at the world. Raises `WallsDiffer` for the first thing that is not as told."""
        if not self.has_walls:
            return
        if self.isolation == STRICT:
            _check_process()
            _check_network()
        for path in self.read_only_paths:
            # Weaker walls refuse at the opening of a file, which access(2) does not ask about.
            is_writable = self.isolation == STRICT and os.access(path, os.W_OK)
            if not Path(path).exists() or is_writable:
                raise WallsDiffer(f"{path} should be here for reading only")
        for path in self.writable_paths:
            # Whether the owner of the files lets us write is not the walls' affair; a tool that writes will see.
            if not Path(path).exists():
                raise WallsDiffer(f"{path} should be here for writing")
        for path in self.blocked_paths:
            if not _is_empty(Path(path)):
                raise WallsDiffer(f"{path} should not be here")


def _read(kind: object, value: Any) -> Any:
    """One member, of the type its field has; the annotation is a text."""
    if kind == "tuple[str, ...]":
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
    elif isinstance(value, _KINDS[str(kind)]):
        return value
    raise TypeError


def _check_process() -> None:
    status = dict(
        line.split(":\t", 1) for line in (_PROC / "status").read_text().splitlines() if ":\t" in line
    )
    if status.get("Seccomp") != "2":
        raise WallsDiffer("no system call filter is in force")
    if status.get("NoNewPrivs") != "1" or int(status.get("CapEff", "1"), 16) != 0:
        raise WallsDiffer("this process has privileges, or could gain some")


def _check_network() -> None:
    devices = (line.partition(":")[0].strip() for line in (_PROC / "net/dev").read_text().splitlines()[2:])
    others = [name for name in devices if name != "lo"]
    if others:
        raise WallsDiffer("there is a network beside the gate")


def _is_empty(path: Path) -> bool:
    try:
        return not any(path.iterdir()) if path.is_dir() else not path.read_bytes()
    except OSError:
        return True
