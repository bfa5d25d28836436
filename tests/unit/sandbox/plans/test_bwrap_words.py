"""A plan in the words of bwrap: what it says of namespaces, mounts and the end of the start."""

from __future__ import annotations

import pytest

from sekisho.policy.grants import Grants
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.bwrap_words import bwrap_words
from sekisho.sandbox.plans.spec import SandboxSpec

COVER = Mount(kind="cover", path="/data/secret", size=4096)


def said(*mounts: Mount, wants_network: bool = False, **environment: str) -> tuple[str, ...]:
    spec = SandboxSpec(name="notes", argv=("python",), grants=Grants(), wants_network=wants_network)
    return bwrap_words(spec, mounts, environment)


def test_every_namespace_is_new_but_that_of_a_network_with_a_gate() -> None:
    assert {"--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-net"} <= set(
        said()
    )
    assert "--unshare-net" not in said(wants_network=True)


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (Mount(kind="read", path="/a", source="/b"), "--ro-bind /b /a"),
        (Mount(kind="write", path="/a", source="/b"), "--bind /b /a"),
        (Mount(kind="link", path="/bin", source="usr/bin"), "--symlink usr/bin /bin"),
        (Mount(kind="proc", path="/proc"), "--proc /proc"),
        (Mount(kind="dev", path="/dev"), "--dev /dev"),
        (
            Mount(kind="file", path="/etc/hosts", mode="0444"),
            "--perms 0444 --file {fd:/etc/hosts} /etc/hosts",
        ),
        (Mount(kind="tmpfs", path="/x", size=5, mode="0700"), "--perms 0700 --size 5 --tmpfs /x"),
        (Mount(kind="cover", path="/a", source="/dev/null"), "--ro-bind /dev/null /a"),
        (COVER, "--perms 0555 --size 4096 --tmpfs /data/secret"),
    ],
)
def test_each_kind_of_mount_has_its_words(mount: Mount, words: str) -> None:
    assert f" {words} " in " ".join(said(mount))


def test_covers_the_devices_and_the_root_are_read_only_once_all_is_mounted() -> None:
    found = said(COVER)
    at = found.index("--clearenv")
    assert found[at - 6 : at] == ("--remount-ro", "/data/secret", "--remount-ro", "/dev", "--remount-ro", "/")


def test_the_environment_is_cleared_before_any_of_it_is_set() -> None:
    found = said(A="--bind", B="/")
    at = found.index("--clearenv")
    assert found[at + 1 : at + 7] == ("--setenv", "A", "--bind", "--setenv", "B", "/")


def test_nothing_starts_before_the_filter_and_the_launchers_word() -> None:
    assert said()[-6:] == (
        "--seccomp",
        "{fd:filter}",
        "--block-fd",
        "{fd:gate}",
        "--json-status-fd",
        "{fd:status}",
    )
