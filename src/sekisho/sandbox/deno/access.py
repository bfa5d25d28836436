"""What a Deno program may do, rendered from the grants that its walls are made of: as flags, and answer by answer.

Deno is a wall inside the walls. Its flags and its permission broker say the same, because both come from here:
- read and write: the granted paths, the longest listed one deciding; its own code to read, its private scratch to write;
- net: the granted hosts and ports, and the gate's own proxy; no address is listed or looked up here;
- env: everything, for the environment inside the walls holds nothing that was not meant for it;
- sys: the home folder, which is the same for every plugin; run, ffi and import: nothing.

A relative path is refused by the broker: only Deno knows from where it starts, and a program may have changed that.

Judgement only. What it cannot know (where a link leads, where a name resolves to) the outer walls hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from posixpath import normpath
from typing import Final

from sekisho.errors import Refused
from sekisho.policy.grants import FileGrant, Grants
from sekisho.policy.hosts import canonical_host, permits
from sekisho.policy.paths import verdict
from sekisho.sandbox.plans.spec import INNER_HOME, unavailable

__all__ = ["DenoAccess"]

SCRATCH: Final = ("/tmp", INNER_HOME)  # noqa: S108  # private to the sandbox
SYS: Final = ("homedir",)
TEMPORARY: Final = "<TMP>"  # how Deno names the folder of temporary files, which is scratch
PROXY: Final = ("127.0.0.1", 3128)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoAccess:
    """`grants` of one plugin, and the read-only folders its code is in."""

    grants: Grants
    code: tuple[str, ...] = ()

    def flags(self) -> tuple[str, ...]:
        """The permissions as words of `deno run`; a name that is not in the environment reads as absent."""
        files = self._seen
        return (
            *_flag("--allow-read", (*files.read_only_paths, *files.writable_paths)),
            *_flag("--allow-write", files.writable_paths),
            *_flag("--deny-read", _above_no_grant(files.blocked_paths, files)),
            *_flag("--deny-write", _above_no_grant((*files.blocked_paths, *files.read_only_paths), files)),
            *self._net(),
            "--allow-env",
            f"--allow-sys={','.join(SYS)}",
        )

    def refusal(self, permission: str, value: str | None) -> str | None:
        """Why Deno may not do what it asks for; None when it may."""
        match permission:
            case "env":
                return None
            case "sys" if value in SYS:
                return None
            case "write" if value == TEMPORARY:
                return None
            case "read" if value is not None and self._level(value) > 0:
                return None
            case "write" if value is not None and self._level(value) > 1:
                return None
            case "net" if value is not None and self._reaches(value):
                return None
            case "read" | "write" if value is not None and not value.startswith("/"):
                return "it is a relative path; name it from /"
            case "read" | "write":
                return "filesystem_policy does not grant it"
            case "net":
                return "network_policy does not allow it"
            case _:
                return "no plugin is granted this"

    def _level(self, path: str) -> int:
        """0: nothing, 1: read, 2: write."""
        if not path.startswith("/") or "\0" in path:
            return 0
        plain = "/" + normpath(path).lstrip("/")
        return {"none": 0, "read": 1, "write": 2}[verdict(self._seen, plain)]

    @property
    def _seen(self) -> FileGrant:
        """Every path that stands inside for it: its code and its scratch beside what is granted."""
        files = self.grants.files
        return FileGrant(
            read_only_paths=tuple(dict.fromkeys((*self.code, *files.read_only_paths))),
            writable_paths=tuple(dict.fromkeys((*files.writable_paths, *SCRATCH))),
            blocked_paths=files.blocked_paths,
        )

    def _reaches(self, value: str) -> bool:
        host, _, digits = value.rpartition(":")
        if not digits.isascii() or not digits.isdigit() or len(digits) > 5:
            return False
        port = int(digits)
        network = self.grants.network
        if (host, port) == PROXY:
            return not network.is_closed
        if host in _LOOPBACK:
            return network.allow_localhost and port in network.localhost_ports
        try:
            return permits(network, canonical_host(host), port)
        except Refused:
            return False

    def _net(self) -> tuple[str, ...]:
        network = self.grants.network
        if network.is_closed:
            return ()
        pairs = network.endpoints or product(network.allowed_domains, network.allowed_ports)
        listed = [f"{host}:{port}" for host, port in pairs]
        if network.allow_localhost:
            listed += [f"{host}:{port}" for host in _LOOPBACK for port in network.localhost_ports]
        listed.append(f"{PROXY[0]}:{PROXY[1]}")
        blocked = [host for host in network.blocked_domains if host != "*"]
        if network.mode == "learn":  # the gate writes down what is wanted, so it has to be asked
            return ("--allow-net", *_flag("--deny-net", blocked))
        return (*_flag("--allow-net", listed), *_flag("--deny-net", blocked))


def _flag(name: str, values: Iterable[str]) -> tuple[str, ...]:
    listed = tuple(dict.fromkeys(values))
    for value in listed:
        if "," in value:
            raise unavailable(
                f"{value} has a comma in it, which Deno takes for the end of a path", "rename it"
            )
    return (f"{name}={','.join(listed)}",) if listed else ()


def _above_no_grant(paths: Iterable[str], files: FileGrant) -> list[str]:
    """Deno lets a denial win over every grant below it; there the outer wall alone covers what is blocked."""
    granted = (*files.read_only_paths, *files.writable_paths)
    inside = [path for path in paths if _is_below(path, granted)]
    return [path for path in inside if not any(_is_below(one, (path,)) and one != path for one in granted)]


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
