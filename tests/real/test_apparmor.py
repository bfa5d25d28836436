"""Where AppArmor denies user namespaces to everybody, as Ubuntu does: what doctor says, and what still runs.

Debian's kernel has not Ubuntu's switch, so a profile takes its place: whatever runs in it, and whatever that starts, may
do everything but make a user namespace, and may enter another profile by its name. It needs root, because it loads
profiles; what they confine is an ordinary user's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import dev
import pytest

from sekisho.sandbox import APPARMOR_PROFILE

PARSER: Final = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin") or ""
ENTER: Final = shutil.which("aa-exec", path="/usr/bin:/usr/sbin") or ""
MEDIATES: Final = Path("/sys/kernel/security/apparmor/features/namespaces/mask")
LOADED: Final = Path("/sys/kernel/security/apparmor/profiles")
RESTRICTED: Final = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_unconfined")
NOBODY_UID: Final = 61235
COMMAND: Final = "import sys; from sekisho.cli.app import main; sys.exit(main())"
RUN_S: Final = 300  # an emulated machine is slow
DENYING: Final = """\
abi <abi/4.0>,
include <tunables/global>

profile sekisho_tests_denied flags=(attach_disconnected) {
  file rwlkm /{**,},
  /** pix,
  capability,
  network,
  unix,
  mount,
  umount,
  pivot_root,
  ptrace,
  signal,
  change_profile,
}
"""
DENIED: Final = "sekisho_tests_denied"
INSIDE: Final = """
import asyncio, sys
sys.path[:0] = %(path)r
from tests.real.walled_run import finish, python_spec, start
from sekisho.errors import Misconfigured
from sekisho.sandbox import driver_for

async def main():
    try:
        driver_for(python_spec("", isolation="strict"))
        print("strict was given")
    except Misconfigured as error:
        print("strict refused:", %(named)r in error.message)
    for program in ("print(6 * 7)", "print(open('/etc/passwd').read())", "import socket; socket.socket()"):
        wanted = python_spec(program, isolation="standard")
        async with driver_for(wanted) as driver:
            ended, out, err = await finish(await start(driver, wanted))
            print(driver.name, ended.code, out.strip(), err.strip().rpartition("\\n")[2].partition(":")[0])

asyncio.run(main())
"""
STRICT: Final = """
import asyncio, sys
sys.path[:0] = %(path)r
from tests.real.walled_run import finish, python_spec, start
from sekisho.sandbox import Bubblewrap

async def main():
    wanted = python_spec("print(open('/proc/self/attr/apparmor/current').read())", isolation="strict")
    async with Bubblewrap() as driver:
        ended, out, err = await finish(await start(driver, wanted))
        print(ended.code, out.strip(), err.strip())

asyncio.run(main())
"""
PATH: Final = [entry for entry in sys.path if entry] + [str(dev.ROOT)]
# What distributions tie to every bwrap: whatever it starts has no capability.
DISTRIBUTIONS: Final = Path("/usr/share/apparmor/extra-profiles/bwrap-userns-restrict")


def _lacking() -> str:
    if os.geteuid() != 0:
        return "profiles are loaded by root"
    if not (PARSER and ENTER):
        return "apparmor_parser and aa-exec are not installed (Debian package apparmor)"
    try:
        mediates = "userns_create" in MEDIATES.read_text()
    except OSError:
        return "this kernel has no AppArmor, or has it not switched on"
    return "" if mediates else "this kernel's AppArmor knows nothing of user namespaces (Linux 6.7)"


LACKING: Final = _lacking()
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(2 * RUN_S),
    pytest.mark.skipif(bool(LACKING), reason=LACKING or "none"),
]


@pytest.fixture
def denied() -> Iterator[None]:
    """Everything is denied, and nothing of ours is loaded."""
    was_there = "sekisho (" in LOADED.read_text()
    if was_there:
        pytest.skip("a profile called sekisho is loaded on this machine: it is not ours to take away")
    _load(DENYING)
    yield
    _load(DENYING, "--remove")


@pytest.fixture
def ours(denied: None) -> Iterator[None]:
    """The profile that doctor prints is loaded as well."""
    printed = _as_nobody("unconfined", "doctor", "--apparmor-profile")
    assert printed.stdout == APPARMOR_PROFILE
    _load(printed.stdout)
    yield
    _load(printed.stdout, "--remove")


def _load(profile: str, how: str = "--replace") -> None:
    done = subprocess.run(
        [PARSER, how], input=profile, capture_output=True, text=True, check=False, timeout=RUN_S
    )
    assert done.returncode == 0, done.stderr


def _entered(*profiles: str) -> list[str]:
    """The words that enter one profile after the other."""
    return [word for profile in profiles for word in (ENTER, "-p", profile, "--")]


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=dev.ROOT, capture_output=True, text=True, check=False, timeout=RUN_S, user=NOBODY_UID,
        group=NOBODY_UID, extra_groups=[], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"},
    )  # fmt: skip


def _as_nobody(profile: str, *words: str, then: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return _run([*_entered(profile, *then), sys.executable, "-c", COMMAND, *words])


def _rows(profile: str, *then: str) -> dict[str, dict[str, Any]]:
    answer = _as_nobody(profile, "doctor", "--json", then=then)
    return {row["what"]: row for row in json.loads(answer.stdout)["rows"]}


def test_doctor_names_the_profile_that_denies_and_claims_no_wall_that_fell(denied: None) -> None:
    rows = _rows(DENIED)
    for wall in ("bubblewrap", "network namespace", "own walls"):
        assert not rows[wall]["ok"], rows[wall]
        assert DENIED in rows[wall]["fix"]
        assert "userns," in rows[wall]["fix"]
    assert not rows["isolation strict"]["ok"]
    assert rows["Landlock"]["ok"]


def test_in_the_profile_that_doctor_prints_every_wall_stands(ours: None) -> None:
    rows = _rows(DENIED, "sekisho")
    for wall in ("bubblewrap", "network namespace", "own walls", "isolation strict"):
        assert rows[wall]["ok"], rows[wall]


def test_a_strict_plugin_runs_in_the_profile_that_doctor_prints(ours: None) -> None:
    ended = _run([*_entered(DENIED, "sekisho"), sys.executable, "-c", STRICT % {"path": PATH}])
    assert ended.stdout.startswith("0 "), ended


@pytest.mark.skipif(not DISTRIBUTIONS.exists(), reason="not installed: Debian package apparmor-profiles")
def test_a_profile_that_the_distribution_ties_to_bwrap_is_in_nobodys_way(ours: None) -> None:
    theirs = DISTRIBUTIONS.read_text()
    _load(theirs)
    try:
        assert _rows(DENIED, "sekisho")["isolation strict"]["ok"]
        ended = _run([*_entered(DENIED, "sekisho"), sys.executable, "-c", STRICT % {"path": PATH}])
        assert ended.stdout.startswith("0 bwrap//&unpriv_bwrap"), ended
    finally:
        _load(theirs, "--remove")


def test_a_bwrap_that_somebody_else_starts_gains_nothing_by_our_profile(ours: None) -> None:
    words = ["bwrap", "--unshare-user", "--ro-bind", "/", "/", "true"]
    assert _run([*_entered(DENIED), *words]).returncode != 0
    assert _run([*_entered("unconfined"), *words]).returncode == 0


def test_a_plugin_without_a_network_runs_behind_landlock_and_a_strict_one_is_refused(denied: None) -> None:
    ended = _run([*_entered(DENIED), sys.executable, "-c", INSIDE % {"path": PATH, "named": DENIED}])
    assert ended.stdout.splitlines() == [
        "strict refused: True",
        "landlock 0 42 ",
        "landlock 1  PermissionError",
        "landlock 1  OSError",
    ], ended.stderr


def test_where_unconfined_programs_are_restricted_aa_exec_adds_a_profile_and_leaves_the_old_one(
    ours: None,
) -> None:
    before = RESTRICTED.read_text()
    words = [*_entered("sekisho"), "cat", "/proc/self/attr/apparmor/current"]
    try:
        RESTRICTED.write_text("0")
        assert _run(words).stdout.startswith("sekisho ")
        RESTRICTED.write_text("1")
        assert "//&" in _run(words).stdout
    finally:
        RESTRICTED.write_text(before)
