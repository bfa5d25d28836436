"""What a plugin is told about its walls: the same grants that the walls are made of, in a variable of its environment.

A plugin that knows nothing of it loses nothing; one written with `sekisho.plugin` compares it with what it finds. It is
told only what it can see for itself: a blocked path that it could not come near has no name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from sekisho.config import Workload
from sekisho.plugin import SANDBOX_VARIABLE, SandboxConfig

__all__ = ["told"]


def told(workload: Workload) -> Mapping[str, str]:
    """The variable and its value."""
    grants = workload.grants
    granted = [PurePosixPath(path) for path in (*grants.files.read_only_paths, *grants.files.writable_paths)]
    blocked = {path: PurePosixPath(path) for path in grants.files.blocked_paths}
    config = SandboxConfig(
        isolation=workload.isolation,
        max_memory_mb=grants.limits.max_memory_mb,
        max_cpu_percent=grants.limits.max_cpu_percent,
        execution_timeout_s=grants.limits.execution_timeout_s,
        allowed_domains=grants.network.allowed_domains,
        allow_localhost=grants.network.allow_localhost,
        read_only_paths=grants.files.read_only_paths,
        writable_paths=grants.files.writable_paths,
        blocked_paths=tuple(
            path
            for path, here in blocked.items()
            if any(here.is_relative_to(one) for one in granted)
            and not any(one.is_relative_to(here) for one in granted)
        ),
    )
    return {SANDBOX_VARIABLE: config.as_text()}
