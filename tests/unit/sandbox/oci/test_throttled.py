"""What docker's service was told is read back; the client here is a small program that says what it was given."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.errors import Misconfigured
from sekisho.sandbox.oci.engine import Engine
from sekisho.sandbox.oci.throttled import require_throttle
from sekisho.sandbox.oci.words import EngineName


def client(folder: Path, answer: str, name: EngineName = "docker") -> Engine:
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/log\necho {answer}\n')
    program.chmod(0o755)
    return Engine(name=name, program=str(program))


async def test_a_container_that_is_slowed_down_on_every_disk_may_start(tmp_path: Path) -> None:
    await require_throttle(client(tmp_path, "3 3"), "one", "notes", 3)
    assert "BlkioDeviceWriteBps" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("told", ["0 0", "3 0", "0 3", "2 3", "33", ""])
async def test_one_of_which_the_client_told_less_does_not(tmp_path: Path, told: str) -> None:
    with pytest.raises(Misconfigured, match=r"io_mbps of plugin 'notes' cannot be enforced"):
        await require_throttle(client(tmp_path, told), "one", "notes", 3)


async def test_nobody_is_asked_where_nothing_is_to_be_slowed_down(tmp_path: Path) -> None:
    await require_throttle(client(tmp_path, "0 0"), "one", "notes", 0)
    await require_throttle(client(tmp_path, "0 0", "podman"), "one", "notes", 3)
    assert not (tmp_path / "log").exists()
