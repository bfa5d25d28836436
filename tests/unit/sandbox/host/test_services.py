"""Which services a plugin could reach by a socket in what it is granted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sekisho.policy.grants import FileGrant
from sekisho.sandbox.host import services
from sekisho.sandbox.host.services import services_within


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """One in which a service listens, under a name that is not the folder's real one."""
    real = tmp_path.resolve() / "run"
    (real / "in ner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        one.bind(str(tmp_path / "link" / "in ner" / "s"))
        one.listen()
        other.bind(str(real / "log"))
        yield real


@pytest.mark.threat("T-READ-HOST")
@pytest.mark.parametrize("key", ["read_only_paths", "writable_paths"])
def test_a_socket_in_a_granted_folder_is_found_by_its_real_name(folder: Path, key: str) -> None:
    found = services_within(FileGrant(**{key: (str(folder),)}))  # type: ignore[arg-type]  # likewise
    assert found == (f"{folder}/in ner/s", f"{folder}/log")


@pytest.mark.parametrize(
    "more",
    [
        {"read_only_paths": ("{}", "{}/in ner/s", "{}/log")},  # named, so it is meant
        {"read_only_paths": ("{}",), "blocked_paths": ("{}/in ner", "{}/log")},
        {"writable_paths": ("{}",), "persist": "review"},
        {"writable_paths": ("{}",), "persist": "discard"},
        {"read_only_paths": ("{}/other",)},
        {},
    ],
)
def test_what_is_named_covered_or_elsewhere_is_none(folder: Path, more: dict[str, Any]) -> None:
    grant = {
        key: value if isinstance(value, str) else tuple(one.format(folder) for one in value)
        for key, value in more.items()
    }
    assert services_within(FileGrant(**grant)) == ()  # type: ignore[arg-type]  # by name, as a file states it


@pytest.mark.threat("T-READ-HOST")
def test_a_socket_in_what_a_program_brings_counts_like_one_in_a_grant(folder: Path) -> None:
    assert services_within(FileGrant(), (str(folder),)) == (f"{folder}/in ner/s", f"{folder}/log")
    assert services_within(FileGrant(), (str(folder / "in ner"), str(folder / "log"))) == (
        f"{folder}/in ner/s",
    )
    covered = FileGrant(blocked_paths=(f"{folder}/in ner", f"{folder}/log"))
    assert services_within(covered, (str(folder),)) == ()


def test_a_table_that_cannot_be_read_is_no_proof_that_nobody_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "TABLE", tmp_path / "none")
    assert services_within(FileGrant(read_only_paths=("/srv",))) == (str(tmp_path / "none"),)
    assert services_within(FileGrant()) == ()
