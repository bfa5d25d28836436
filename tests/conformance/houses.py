"""Two gateways that share nothing but keys, before one plugin server: what stands on several machines, on one.

Each core has a home of its own: its log, its limits, its lock. As docs/guides/several-gateways.md says, the second has a
copy of the first one's keys, all but the key that signs the log.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.conformance.running import READY_S, running, wait_approved
from tests.ports import free_port

from sekisho.assembly.identities import DEFAULT_CLIENT, ensure_all
from sekisho.config import load_core
from sekisho.keys import KeyFolder, ensure_bearer

__all__ = ["copy_keys", "cores_apart"]

SEKISHO: Final = Path(sys.executable).with_name("sekisho")
DOMAIN: Final = "sekisho.local"
SHARED: Final = (  # of the key folder; the log's key is not among them: each log is signed by a key of its own
    *("authority", "identities", "public", "clients"),
    *("secrets/sessions", "secrets/rounds", "secrets/dpop-nonce"),
)


@contextlib.contextmanager
def cores_apart(text: str, plugin: str, program: str, folder: Path) -> Iterator[list[Mapping[str, str]]]:
    """A plugin server and two cores until the block ends; yields what the cores printed, once the plugin is approved.

    Args:
        text: the core file of both, whose last table is that of the plugin.
        program: what the plugin file says of the program, its further tables last.
    """
    port = free_port()
    homes = [folder / "one", folder / "two"]
    for home in homes:
        home.mkdir()
        (home / "sekisho.toml").write_text(
            f'home = {json.dumps(str(home / "home"))}\n{text}url = "https://127.0.0.1:{port}"\n'
        )
    _make_keys(homes[0] / "sekisho.toml", homes[0] / "home", plugin)
    copy_keys(homes[0] / "home", homes[1] / "home")
    (folder / "plugin.toml").write_text(
        f'[plugin_server]\nname = "{plugin}"\nbind_addr = "127.0.0.1:{port}"\n'
        f"home = {json.dumps(str(homes[0] / 'home'))}\n{program}"
    )
    with contextlib.ExitStack() as stack:
        words = [str(SEKISHO), "plugin", "--config", str(folder / "plugin.toml")]
        stack.enter_context(running(words, folder / "plugin.log", is_silent=True))
        found = []
        for home in homes:
            words = [str(SEKISHO), "core", "--config", str(home / "sekisho.toml"), "--trust-on-first-use"]
            line = stack.enter_context(running(words, home / "core.log"))
            wait_approved(home / "core.log", READY_S)
            found.append(json.loads(line))
        yield found


def copy_keys(home: Path, other: Path) -> None:
    """What an operator copies from the machine of one gateway to that of another."""
    for name in SHARED:
        source, target = home / "keys" / name, other / "keys" / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)


def _make_keys(config: Path, home: Path, plugin: str) -> KeyFolder:
    """What the first core and the plugin server make when they start."""
    now, keys = time.time(), KeyFolder(home / "keys", DOMAIN)
    ensure_all(keys, load_core(config), (plugin,), now)
    ensure_bearer(keys, DEFAULT_CLIENT)
    for name in ("sessions", "rounds", "dpop-nonce"):
        keys.ensure_secret(name)
    return keys
