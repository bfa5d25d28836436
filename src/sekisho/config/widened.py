"""What else in a plugin's tables can widen what it reaches, or start other code than before.

Guarantees that a setting which takes a wall away, shows more of the host, leads elsewhere or brings other programs is one
of the words that an approval covers (`registry.drift`) and a review shows: whoever changes it needs a new approval. What
bounds cost is not among them. Judges nothing and enforces nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from sekisho.config.program import Program
from sekisho.config.sandbox import Sandbox

__all__ = ["widened"]


def widened(sandbox: Sandbox, program: Program) -> Iterator[str]:
    """Each as `key = value`; nothing for a plugin whose file leaves them all as they are by default."""
    base, plain = Sandbox(), Program()
    for key in ("image", "oci_runtime", "unix_sockets"):
        if getattr(sandbox, key) != getattr(base, key):
            yield f"{key} = {getattr(sandbox, key)}"
    for key in ("runtime", "upstream_ca_path", "upstream_private"):
        if getattr(program, key) != getattr(plain, key):
            yield f"{key} = {getattr(program, key)}"
    if not sandbox.uids:
        yield "uids = none"
    yield from (f"runtime_paths = {path}" for path in program.runtime_paths)
    yield from (f"upstream_headers.{name} = {reference}" for name, reference in program.upstream_headers)
    yield from (
        f"client_requests = {one}" for one in program.client_requests if one not in plain.client_requests
    )
    yield from (f"trace_context = {one}" for one in program.trace_context)
