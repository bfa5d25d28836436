"""What a plugin server does before a plugin starts behind walls."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sekisho.assembly.behind_walls import BehindWalls
from sekisho.assembly.identities import core_id, plugin_id
from sekisho.assembly.orders import orders_of
from sekisho.assembly.places import Places
from sekisho.assembly.post import Post, from_orders
from sekisho.config import load_core
from sekisho.errors import Misconfigured
from sekisho.keys import KeyFolder
from sekisho.sandbox import ForkedLauncher
from sekisho.telemetry import Logger

NOW = 1_790_000_000.0


@dataclass(frozen=True)
class Waiting:
    """A launcher, and the end of its control socket that hears what it is told."""

    launcher: ForkedLauncher
    control: socket.socket

    def heard(self) -> bytes | None:
        """What it was told; None is no word and no end."""
        try:
            return self.control.recv(1000)
        except BlockingIOError:
            return None


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "import signal; signal.pause()"], {})
    launcher = ForkedLauncher(pid, ours)
    with theirs:
        yield Waiting(launcher, theirs)
        launcher.dismiss()


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        ('command = ["no-such-program"]', "is not on this host"),
        (
            f'command = ["{sys.executable}"]\nfilesystem_policy = {{ read_only_paths = ["/no/such"] }}',
            "/no/such",
        ),
    ],
)
async def test_what_is_missing_is_told_before_a_launcher_is_used(
    tmp_path: Path, waiting: Waiting, rest: str, what: str
) -> None:
    with pytest.raises(Misconfigured, match=what):
        await _walls(tmp_path, rest, waiting).__aenter__()
    assert waiting.heard() is None


async def test_a_launcher_is_used_when_nothing_is_missing(tmp_path: Path, waiting: Waiting) -> None:
    rest = f'command = ["{sys.executable}"]\nwarm = false\nsandbox = {{ isolation = "unsafe-none" }}'
    async with _walls(tmp_path, rest, waiting):
        assert b"expect" in (waiting.heard() or b"")
        waiting.launcher.kill()


async def test_each_start_without_walls_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = f'command = ["{sys.executable}"]\nwarm = false\nsandbox = {{ isolation = "unsafe-none" }}'
    counts = []
    async with BehindWalls(_post(tmp_path, rest), {}, Logger("test"), None, lambda _denial: None) as walls:
        for _ in range(2):
            async with walls.connect(0, lambda: None):
                counts.append(capsys.readouterr().err.count("plugin_without_walls"))
    assert counts == [1, 1]


def _walls(folder: Path, rest: str, waiting: Waiting) -> BehindWalls:
    return BehindWalls(_post(folder, rest), {}, Logger("test"), waiting.launcher, lambda _denial: None)


def _post(folder: Path, rest: str) -> Post:
    path = folder / "sekisho.toml"
    path.write_text(f'[[plugins.servers]]\nname = "one"\n{rest}\n', encoding="utf-8")
    config = load_core(path)
    places = Places(home=folder / "home", config=path)
    places.make_folders()
    keys = KeyFolder(places.keys)
    keys.ensure_authority(NOW)
    for spiffe in (core_id(keys.trust_domain), plugin_id(keys.trust_domain, "one")):
        keys.ensure_identity(spiffe, NOW, dns=("localhost",))
    return from_orders(orders_of(config, "one"), path, places.home)
