"""Roots: the places an operator lets a plugin work in, and how they narrow what it was granted.

- A root is a `file:` URI with leave to read or write, or an `http(s):` URI with leave to reach its host. One without
  a leave gives nothing.
- Roots only narrow. What remains of a grant is what lies in a grant and in a root at once; adding a root never gives a
  plugin more than its grants say, and a list without roots leaves it nothing.
- Ports stay with their hosts: `http://a` and `https://b` open neither `a` on 443 nor `b` on 80.
- A root that gives nothing because no grant reaches it is named, so that it is not taken for one that does.

Judgement over text: knows no file system, so a root that leads elsewhere through a link is refused by whoever mounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from posixpath import normpath
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from sekisho.errors import Misconfigured, Refused
from sekisho.policy.grants import FileGrant, Grants, NetworkGrant
from sekisho.policy.hosts import LOCALHOST, canonical_host, permits
from sekisho.policy.paths import verdict

__all__ = ["PORTS", "Narrowed", "Root", "narrow"]

PORTS: Final = {"http": 80, "https": 443}
_FORM: Final = 'write it like "file:///srv/data" or "https://api.example.com"'

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """One place. `path` is the folder of a `file:` root; `origin` is scheme, host and port of any other, and
    `segments` the path below which its addresses lie. `reaches` are hosts and ports it opens.
    """

    uri: str
    name: str
    read: bool = False
    write: bool = False
    reaches: tuple[Endpoint, ...] = ()
    path: str | None = field(default=None, init=False)
    origin: tuple[str, str, int] | None = field(default=None, init=False)
    segments: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.uri)
            port = parts.port
        except ValueError as problem:
            raise _wrong(self.uri, "is not a URI", _FORM) from problem
        plain = self.uri.isascii() and self.uri.isprintable() and "\\" not in self.uri and " " not in self.uri
        if not plain or parts.query or parts.fragment or "@" in parts.netloc:
            raise _wrong(
                self.uri, "has a part that no root has (user, query, fragment, or a character)", _FORM
            )
        if parts.scheme == "file":
            self._be_folder(parts.netloc, parts.path)
        elif parts.scheme in PORTS:
            self._be_site(parts.scheme, parts.hostname or "", port or PORTS[parts.scheme], parts.path)
        else:
            raise _wrong(self.uri, "is neither a file: nor an http(s): URI", _FORM)

    def _be_folder(self, netloc: str, path: str) -> None:
        text = _decoded(path)
        if netloc not in ("", "localhost") or not text.startswith("/") or self.reaches:
            raise _wrong(self.uri, "is no folder of this machine, or opens hosts", _FORM)
        if _climbs(text) or "\0" in text:
            raise _wrong(self.uri, "climbs or holds a NUL", "write the folder itself, without ..")
        folder = "/" + normpath(text).lstrip("/")
        if folder == "/":
            raise _wrong(self.uri, "is the whole file system", "name the folders it needs")
        object.__setattr__(self, "path", folder)
        object.__setattr__(self, "uri", "file://" + quote(folder))

    def _be_site(self, scheme: str, host: str, port: int, path: str) -> None:
        if self.read or self.write:
            raise _wrong(self.uri, "is no folder to read or write", "give it allow-net")
        text = _decoded(path)
        if _climbs(text) or "\0" in text or "%" in text:
            raise _wrong(self.uri, "has a path that can be read in two ways", "write the path itself")
        try:
            canonical_host(host)
        except Refused as problem:
            raise _wrong(self.uri, "names no host by a plain DNS name", _FORM) from problem
        object.__setattr__(self, "origin", (scheme, host, port))
        object.__setattr__(self, "segments", tuple(part for part in text.split("/") if part))

    @property
    def gives_leave(self) -> bool:
        """Whether it permits anything, were it granted."""
        return self.read or self.write or bool(self.reaches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """What remains: the grants, the roots that still give something, and a sentence on each that does not."""

    grants: Grants
    roots: tuple[Root, ...]
    idle: tuple[str, ...]


def narrow(grants: Grants, roots: Sequence[Root]) -> Narrowed:
    """The grants within the roots."""
    readable: dict[str, None] = {}
    writable: dict[str, None] = {}
    kept: list[Root] = []
    idle: list[str] = []
    for root in roots:
        if root.path is None:
            reaches = tuple(one for one in root.reaches if permits(grants.network, *one))
            kept += [replace(root, reaches=reaches)] if reaches else []
            idle += [] if reaches else [_idle_site(root)]
            continue
        reads, writes = _within(grants.files, root)
        readable.update(dict.fromkeys(reads))
        writable.update(dict.fromkeys(writes))
        kept += [root] if reads or writes else []
        idle += [] if reads or writes else [_idle_folder(root)]
    files = replace(grants.files, read_only_paths=tuple(readable), writable_paths=tuple(writable))
    network = _network(grants.network, (one for root in kept for one in root.reaches))
    return Narrowed(grants=replace(grants, files=files, network=network), roots=tuple(kept), idle=tuple(idle))


def _within(files: FileGrant, root: Root) -> tuple[list[str], list[str]]:
    """Paths that are granted and lie in this root: those to read, those to write."""
    reads: list[str] = []
    writes: list[str] = []
    if root.path is None or not (root.read or root.write):
        return reads, writes
    listed = (*files.read_only_paths, *files.writable_paths)
    below = (path for path in map(_normal, listed) if path.startswith(root.path + "/"))
    for path in dict.fromkeys((root.path, *below)):
        match verdict(files, path):
            case "write" if root.write:
                writes.append(path)
            case "write" | "read":
                reads.append(path)
            case "none":
                pass
    return reads, writes


def _network(network: NetworkGrant, reached: Iterable[Endpoint]) -> NetworkGrant:
    endpoints = tuple(dict.fromkeys(reached))
    local = tuple(port for host, port in endpoints if host == LOCALHOST)
    far = tuple((host, port) for host, port in endpoints if host != LOCALHOST)
    domains = tuple(dict.fromkeys(host for host, _ in far))
    ports = tuple(dict.fromkeys(port for _, port in far))
    return replace(
        network,
        allowed_domains=domains,
        allowed_ports=ports,
        # Where every host has every port there is nothing to add, and what was approved stays approved.
        endpoints=far if len(far) < len(domains) * len(ports) else (),
        allow_localhost=bool(local),
        localhost_ports=local,
    )


def _idle_folder(root: Root) -> str:
    if not root.gives_leave:
        return f"root {root.uri} gives nothing: it has neither allow-read nor allow-write"
    return f"root {root.uri} gives nothing: filesystem_policy grants nothing in it"


def _idle_site(root: Root) -> str:
    if not root.gives_leave:
        return f"root {root.uri} gives nothing: it has no allow-net"
    return f"root {root.uri} gives nothing: network_policy allows none of its hosts and ports"


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as problem:
        raise _wrong(text, "is not UTF-8 when its escapes are read", _FORM) from problem


def _climbs(text: str) -> bool:
    return ".." in text.split("/")


def _normal(path: str) -> str:
    return "/" + normpath(path).lstrip("/")


def _wrong(uri: str, what: str, remedy: str) -> Misconfigured:
    return Misconfigured("config_invalid", f"root {uri[:200]!r} {what}", remedy=remedy)
