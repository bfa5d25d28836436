"""The setting `roots`: a file of them, or the tables themselves, in the shape that samples of MCP roots have.

Guarantees that every key is known and every leave is one that can be honoured; what a place is, is judged by
`policy.roots`. A file is part of the configuration: it is read with it, from the folder of the file that names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sekisho.config.field import Kind, Wrong, described
from sekisho.config.roots_file import read_roots_file
from sekisho.errors import Misconfigured, Refused
from sekisho.policy.hosts import canonical_host
from sekisho.policy.roots import PORTS, Root

__all__ = ["roots"]

MAX_ROOTS: Final = 256
_EXPECTED: Final = "a file of roots, or a list of tables with uri, name and permissions"


def roots() -> Kind[tuple[Root, ...]]:
    """Roots, each place once."""

    def read(value: object, folder: Path) -> tuple[Root, ...]:
        if isinstance(value, str) and value and value.isprintable() and not value.startswith("~"):
            value = read_roots_file(folder / value)
        if not isinstance(value, list):
            raise Wrong(f"is {described(value)}")
        if len(value) > MAX_ROOTS:
            raise Wrong(f"lists more than {MAX_ROOTS} roots")
        found: dict[str, Root] = {}
        for number, one in enumerate(value, start=1):
            try:
                root = _root(one)
            except (Misconfigured, Refused) as problem:  # a host is refused where hosts are judged
                raise Wrong(f"member {number}: {problem.message}", remedy=problem.remedy) from problem
            except ValueError as problem:
                raise Wrong(f"member {number}: its uri cannot be read") from problem
            if root.uri in found:
                raise Wrong(f"member {number} repeats {root.uri}")
            found[root.uri] = root
        return tuple(found.values())

    return Kind("path or list of tables", _EXPECTED, read)


def _root(value: object) -> Root:
    table = _table(value, "", ("uri", "name", "permissions"))
    uri, name = table.get("uri"), table.get("name", "")
    if not isinstance(uri, str) or not isinstance(name, str) or not name.isprintable():
        raise Wrong("has no uri, or a name that is no text; expected both as text")
    permissions = _table(table.get("permissions", {}), "permissions", ("deno",))
    leaves = _table(
        permissions.get("deno", {}), "permissions.deno", ("allow-read", "allow-write", "allow-net")
    )
    read, write = _flag(leaves, "allow-read"), _flag(leaves, "allow-write")
    if write and leaves.get("allow-read") is False:
        raise Wrong(
            "allows writing and forbids reading, which no wall can give", remedy="set allow-read = true"
        )
    reaches = _reaches(uri, leaves.get("allow-net", False))
    return Root(uri=uri, name=name, read=read or write, write=write, reaches=reaches)


def _reaches(uri: str, value: object) -> tuple[tuple[str, int], ...]:
    """Hosts and ports of `allow-net`: true is the uri's own, text is `host` or `host:port`."""
    parts = urlsplit(uri)
    port = parts.port or PORTS.get(parts.scheme, 0)
    if value is False:
        return ()
    texts = [parts.hostname or ""] if value is True else [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise Wrong(f"allow-net is {described(value)}; expected true, a host, or a list of hosts")
    found: dict[tuple[str, int], None] = {}
    for text in texts:
        if not isinstance(text, str):
            raise Wrong(f"allow-net holds {described(text)}; expected hosts")
        host, colon, digits = text.partition(":")
        if colon and not (digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) <= 65535):
            raise Wrong(f"allow-net names {text[:200]!r}; expected host or host:port")
        found[canonical_host(host), int(digits) if colon else port] = None
    return tuple(found)


def _table(value: object, key: str, known: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Wrong(f"{key} is {described(value)}; expected a table".lstrip())
    for name in value:
        if name not in known:
            shown = f"{key}.{name}".lstrip(".")
            raise Wrong(f"has the unknown key {shown[:80]!r}; known are {', '.join(known)}")
    return value


def _flag(leaves: dict[str, object], key: str) -> bool:
    value = leaves.get(key, False)
    if not isinstance(value, bool):
        raise Wrong(f"{key} is {described(value)}; expected true or false")
    return value
