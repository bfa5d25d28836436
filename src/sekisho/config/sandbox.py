"""The table `sandbox`: how much a plugin may use, and how strong its walls are. Both files mean the same by it.

Guarantees that no limit leaves the range that `policy.grants` gives it. What this host can give is asked when the
walls are raised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sekisho.config.field import Kind, Wrong, choice, judged, number, setting, text, whole
from sekisho.policy.grants import LimitGrant

__all__ = ["Sandbox"]

_BASE = LimitGrant()


def _limit(name: str, low: int, high: int) -> Kind[int]:
    return judged(whole(low, high), lambda value: _limits(name, value))


def _seconds(name: str, high: float) -> Kind[float]:
    return judged(number(0.001, high), lambda value: _limits(name, value))


def _limits(name: str, value: Any) -> LimitGrant:
    """One limit among the defaults: its range is judged where limits are defined."""
    return replace(_BASE, **{name: value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """`sandbox`: how much the plugin may use, and how strong its walls are."""

    max_memory_mb: int = setting(
        _limit("max_memory_mb", 16, 1 << 20),
        "Memory of all its processes together, MB.",
        default=_BASE.max_memory_mb,
    )
    max_cpu_percent: int = setting(
        _limit("max_cpu_percent", 1, 100_000),
        "Processor time; 100 is one core.",
        default=_BASE.max_cpu_percent,
    )
    execution_timeout_seconds: float = setting(
        _seconds("execution_timeout_s", 86_400),
        "Longest run of one call; then the whole process tree is killed.",
        default=_BASE.execution_timeout_s,
    )
    max_pids: int = setting(
        _limit("max_pids", 1, 1 << 20), "Processes and threads at one time.", default=_BASE.max_pids
    )
    max_open_files: int = setting(
        _limit("max_open_files", 16, 1 << 20), "Open files of each process.", default=_BASE.max_open_files
    )
    max_tmp_mb: int = setting(
        _limit("max_tmp_mb", 1, 1 << 20), "Size of its private /tmp, MB.", default=_BASE.max_tmp_mb
    )
    start_timeout_seconds: float = setting(
        _seconds("start_timeout_s", 3_600),
        "Longest time from start to its first answer.",
        default=_BASE.start_timeout_s,
    )
    io_mbps: int = setting(
        _limit("io_mbps", 0, 1 << 20),
        "Reading and writing of each disk, MB a second each; 0 is without limit. Needs a control group.",
        default=_BASE.io_mbps,
    )
    idle_stop_seconds: float = setting(
        judged(number(0, 86_400), lambda value: _limits("idle_stop_s", value)),
        "Time without calls after which it is ended, to be started again by the next; 0 is never.",
        default=_BASE.idle_stop_s,
    )
    isolation: str = setting(
        choice("strict", "standard", "minimal", "unsafe-none"),
        "How strong its walls have to be; what this host cannot give is refused, never weakened in silence. "
        '"unsafe-none" starts it without walls.',
        default="strict",
    )
    driver: str = setting(
        choice("auto", "bubblewrap", "native", "oci", "landlock"),
        "Who raises them; auto takes the first that gives the wanted isolation, in this order.",
        default="auto",
    )
    engine: str = setting(
        choice("auto", "podman", "docker"), "Container engine of the driver oci.", default="auto"
    )
    image: str = setting(
        text(
            r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,254}",
            "an image that the engine has, such as localhost/notes@sha256:…",
        ),
        "Container image that brings its programs, never fetched; else those of this host are shown in an empty one.",
        default="",
    )
    oci_runtime: str = setting(
        text(r"[a-z0-9][a-z0-9_-]{0,63}", "a runtime the engine knows, such as runsc"),
        'Runtime of the engine; "runsc" is gVisor, for plugins without network. Else the engine\'s own.',
        default="",
    )
    uids: str = setting(
        text(r"([1-9]\d{3,9}-[1-9]\d{3,9})?", 'a range of users such as "600000-665535", or ""'),
        'Users of this host from which each plugin gets one of its own, where sekisho runs as root; "" is none.',
        default="600000-665535",
    )
    told_paths: str = setting(
        choice("asked", "all", "changes", "none"),
        "Which refused attempts on files are told in the audit log: all but asking whether they are there, asking too, "
        "those that would change something, or none. Each call that is watched takes 15 microseconds more.",
        default="all",
    )
    unix_sockets: str = setting(
        choice("auto", "always", "never"),
        "Whether it may make Unix sockets; pairs always. No mount keeps it from connecting to one that it finds: auto "
        "refuses them where a service listens in a folder that it is shown, unless that socket's own path is listed.",
        default="auto",
    )

    def __post_init__(self) -> None:
        for key in ("image", "oci_runtime"):
            if getattr(self, key) and self.driver != "oci":
                raise Wrong('stands without driver = "oci"', remedy='add driver = "oci"', key=key)
        if self.engine != "auto" and self.driver != "oci":
            raise Wrong('stands without driver = "oci"', remedy='add driver = "oci"', key="engine")
