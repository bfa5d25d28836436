from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sekisho.assembly.places import MAX_SOCKET_PATH_BYTES, Places
from sekisho.errors import Misconfigured

LONGEST_NAME = "p" * 32


def _places(home: Path) -> Places:
    return Places(home=home, config=Path("/etc/sekisho/sekisho.toml"))


def test_the_lock_stands_beside_the_configuration() -> None:
    assert _places(Path("/srv/x")).lock == Path("/etc/sekisho/sekisho.lock")


def test_sockets_stand_in_the_home_while_its_path_is_short() -> None:
    assert _places(Path("/srv/x")).plugin_socket("a") == Path("/srv/x/run/plugin-a.sock")
    assert _places(Path("/srv/x")).gate_socket("a") == Path("/srv/x/run/egress-a.sock")
    assert _places(Path("/srv/x")).gate_socket("a", 2) == Path("/srv/x/run/egress-a.2.sock")


@pytest.mark.parametrize("length", range(1, 200, 7))
def test_a_socket_path_always_fits_the_kernel(length: int) -> None:
    places = _places(Path("/" + "h" * length))
    for path in (places.plugin_socket(LONGEST_NAME), places.gate_socket(LONGEST_NAME, 256)):
        assert len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES


def test_two_long_homes_do_not_share_their_sockets() -> None:
    one, other = _places(Path("/" + "h" * 150)), _places(Path("/" + "h" * 151))
    assert one.run != other.run
    assert one.run == _places(Path("/" + "h" * 150)).run


def test_folders_are_made_for_us_alone(tmp_path: Path) -> None:
    places = _places(tmp_path / "home")
    places.make_folders()
    places.make_folders()
    for folder in (places.home, places.run, places.egress_log):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.threat("T-MITM")
def test_a_run_folder_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    places = _places(tmp_path / "home")
    places.home.mkdir()
    (tmp_path / "elsewhere").mkdir()
    places.run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Misconfigured, match="somebody else"):
        places.make_folders()


@pytest.mark.threat("T-READ-CORE")
@pytest.mark.parametrize(
    ("mode", "is_own_group", "is_refused"),
    [
        (0o777, True, True),
        (0o1777, True, True),
        (0o770, False, True),
        (0o775, True, False),
        (0o755, False, False),
        (0o700, True, False),
    ],
)
def test_a_home_that_others_can_write_is_refused(
    tmp_path: Path, mode: int, is_own_group: bool, is_refused: bool
) -> None:
    places = _places(tmp_path / "home")
    places.home.mkdir()
    if not is_own_group and os.geteuid() != 0:
        pytest.skip("only root gives a folder to a group that it is not in")
    os.chown(places.home, -1, os.getgid() + (not is_own_group))
    places.home.chmod(mode)
    if not is_refused:
        places.make_folders()
        return
    with pytest.raises(Misconfigured, match="others can write"):
        places.make_folders()
    assert not places.run.exists()


def test_a_home_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="cannot be created"):
        _places(tmp_path / "file" / "home").make_folders()
