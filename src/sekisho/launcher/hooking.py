"""Tells a container's runtime to whom its filter's listener goes: `python -I -S <this file> SOCKET`, as podman's hook.

podman drops the word `listenerPath` of a system call filter, and asks hooks about the whole of its configuration before
the runtime reads it: it comes on standard input, and what is printed takes its place. Nothing but that word is changed.

Source: oci-hooks(5), "precreate"; OCI runtime specification 1.0.2, config-linux, "Seccomp".
"""

from __future__ import annotations

import json
import sys

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Add the word; a configuration without a filter is left to fail."""
    configuration = json.load(sys.stdin)
    configuration["linux"]["seccomp"]["listenerPath"] = arguments[0]
    json.dump(configuration, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
