"""Runs a launcher: `python -I -S <this file> FD OWNER_PID`, or with `probe` or `probe-native` for FD, tries walls once.

Started by path, because `-I -S` leaves out the folder where the package lies; it is added behind the standard library.
"""

from __future__ import annotations

import socket
import sys

if __name__ == "__main__":
    sys.path.append(__file__.removesuffix("/sekisho/launcher/__main__.py"))

from sekisho.launcher.kernel import die_with_parent
from sekisho.launcher.native import probe_walls
from sekisho.launcher.network import probe_network
from sekisho.launcher.ruleset import probe_ruleset
from sekisho.launcher.serving import serve_owner
from sekisho.launcher.staging import probe_staging


def main(arguments: list[str]) -> None:
    """Serve one owner until it goes away."""
    owner = int(arguments[1])
    probes = {"probe": probe_network, "probe-native": probe_walls, "probe-landlock": probe_ruleset}
    probes["probe-staging"] = probe_staging
    if arguments[0] in probes:
        die_with_parent(owner)
        probes[arguments[0]]()
        return
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    serve_owner(control, owner)


if __name__ == "__main__":
    main(sys.argv[1:])
