"""A plan in the words of bwrap.

Guarantees that every namespace is new and no capability stays, that the root and every cover are read-only in the end,
and that the plugin starts only once the launcher lets it. `{fd:NAME}` stands for a descriptor that is opened at the
start. Judgement only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.spec import INNER_HOME, SandboxSpec
from sekisho.sandbox.plans.visible import HOST_NAME, INNER_ID, is_folder_cover

__all__ = ["bwrap_words"]


def bwrap_words(
    spec: SandboxSpec, mounts: Sequence[Mount], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Everything but the program and the command."""
    return (
        *_namespaces(spec),
        *(word for mount in mounts for word in _words(mount)),
        *(word for mount in mounts if is_folder_cover(mount) for word in ("--remount-ro", mount.path)),
        "--remount-ro", "/dev", "--remount-ro", "/",
        "--clearenv",
        *(word for name, value in environment.items() for word in ("--setenv", name, value)),
        "--chdir", spec.cwd or INNER_HOME,
        "--seccomp", "{fd:filter}",
        "--block-fd", "{fd:gate}",
        "--json-status-fd", "{fd:status}",
    )  # fmt: skip


def _namespaces(spec: SandboxSpec) -> tuple[str, ...]:
    network = (
        () if spec.wants_network else ("--unshare-net",)
    )  # else the launcher made one with the gate's sockets
    return (
        "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try",
        *network,
        "--uid", INNER_ID, "--gid", INNER_ID,
        "--hostname", HOST_NAME,
        "--cap-drop", "ALL",
        "--die-with-parent", "--new-session",
    )  # fmt: skip


def _words(mount: Mount) -> tuple[str, ...]:
    """One mount in the words of bwrap."""
    match mount.kind:
        case "read":
            return ("--ro-bind", mount.source, mount.path)
        case "write":
            return ("--bind", mount.source, mount.path)
        case "link":
            return ("--symlink", mount.source, mount.path)
        case "proc":
            return ("--proc", mount.path)
        case "dev":
            return ("--dev", mount.path)
        case "file":
            return ("--perms", mount.mode, "--file", "{fd:" + mount.path + "}", mount.path)
        case "tmpfs":
            return ("--perms", mount.mode, "--size", str(mount.size), "--tmpfs", mount.path)
        case "cover" if mount.source:
            return ("--ro-bind", mount.source, mount.path)
        case "cover":
            return ("--perms", "0555", "--size", str(mount.size), "--tmpfs", mount.path)
