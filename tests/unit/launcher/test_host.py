"""What the host has: only its own file systems are asked, and what everybody may read is nobody's secret."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sekisho.launcher.host import Host
from sekisho.launcher.places import Refusal

LINE = "36 35 98:0 / {place} rw,noatime shared:1 - {kind} source rw\n"


Look = Callable[..., Host]


@pytest.fixture
def look() -> Iterator[Look]:
    """Makes hosts that know what is mounted; what each holds open is closed at the end, as a watcher's own end does."""
    made: list[Host] = []

    def one(table: str = "/proc/self/mountinfo") -> Host:
        made.append(Host(table))
        made[-1].look()
        return made[-1]

    yield one
    for host in made:
        os.close(host._root)


def refusal(path: str, act: str = "read", on_host: str | None = None) -> Refusal:
    return Refusal(act, path, "unlisted", on_host=path if on_host is None else on_host)  # type: ignore[arg-type]


def test_what_the_host_has_is_a_refusal_and_what_it_has_not_is_none(look: Look, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("")
    (tmp_path / "link").symlink_to("key")
    host = look()
    assert host.has(refusal(f"{tmp_path}/key"))
    assert host.has(refusal(f"{tmp_path}/link"))
    assert not host.has(refusal(f"{tmp_path}/none"))
    assert not host.has(refusal(f"{tmp_path}/key/below"))


def test_what_was_blocked_by_name_is_not_asked(look: Look) -> None:
    assert look().has(refusal("/nowhere", on_host=""))


@pytest.mark.parametrize("kind", ["autofs", "nfs4", "fuse.sshfs", "cifs", "9p", "unheard-of"])
def test_a_file_system_that_is_elsewhere_is_never_looked_at(look: Look, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "net place"
    place.mkdir()
    table = tmp_path / "mounts"
    table.write_text(
        LINE.format(place=str(place).replace(" ", "\\040"), kind=kind) + LINE.format(place="/", kind=kind)
    )
    host = look(str(table))
    assert host.has(refusal(f"{place}/secret-of-mine.attacker.example/x")), "told without a look"
    assert not host.has(refusal(f"{tmp_path}/none")), "its neighbours are looked at"


def test_a_link_into_such_a_place_is_not_followed(look: Look, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to("far")
    table = tmp_path / "mounts"
    table.write_text(LINE.format(place=tmp_path / "far", kind="nfs"))
    host = look(str(table))
    assert host.has(refusal(f"{tmp_path}/near/none"))


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/version", "/dev/null"])
def test_what_is_for_everybody_is_left_out_for_readers(look: Look, path: str) -> None:
    assert Path(path).exists()
    assert not look().has(refusal(path))


def test_who_wants_to_write_there_is_told(look: Look) -> None:
    assert look().has(refusal("/etc/passwd", "write"))
    assert not look().has(refusal("/dev/null", "write"))


def test_what_is_not_for_everybody_is_told(look: Look) -> None:
    found = [path for path in ("/etc/shadow", "/proc/1/environ") if Path(path).exists()]
    assert all(look().has(refusal(path)) for path in found)
    assert found


def test_a_name_that_no_file_can_have_is_not_there(look: Look) -> None:
    assert not look().has(refusal("/a\0b"))
    assert not look().has(refusal("/" + "a" * 5000))
    assert os.path.lexists("/")
