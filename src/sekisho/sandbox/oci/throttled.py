"""Whether docker was told how fast a container may use disks.

Guarantees that no plugin with `io_mbps` starts in a docker container whose disks are not slowed down. docker's command
line client of the versions 25.0 to 25.0.6, 26, and 27.0 to 27.1.1, thus Debian 13's, takes `--device-read-bps` and
`--device-write-bps`, and keeps them from its service without a word (docker/cli issue 5321). Versions are not looked
at, because distributions mend some and not others: what the service was told is read back.
Does not know whether the kernel then slows a disk down, which tests show.
"""

from __future__ import annotations

from typing import Final

from sekisho.sandbox.oci.engine import Engine
from sekisho.sandbox.plans.spec import unavailable

__all__ = ["require_throttle"]

_TOLD: Final = "{{len .HostConfig.BlkioDeviceReadBps}} {{len .HostConfig.BlkioDeviceWriteBps}}"


async def require_throttle(engine: Engine, container: str, plugin: str, disks: int) -> None:
    """Hold a container that was made, and not started, against the number of disks that it was to be slowed down on.

    Raises:
        Misconfigured: at least one of them was not passed on.
    """
    if engine.name != "docker" or disks == 0:  # podman has no service that could be told something else
        return
    if await engine.say("inspect", "--format", _TOLD, container) != f"{disks} {disks}":
        raise unavailable(
            f"io_mbps of plugin {plugin!r} cannot be enforced: docker's command line client does not pass it on",
            "use podman, or a docker client that does (25.0.7, 27.1.2 and later ones), or leave io_mbps out",
        )
