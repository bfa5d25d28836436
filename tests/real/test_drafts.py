"""Writes that wait for a decision, in real walls: what the plugin saw is what is kept, and nothing leads out.

Every attack stands beside a harmless twin.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import tempfile
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ticking import let_the_clock_move_on

from sekisho.errors import Misconfigured, Refused, SekishoError, Unavailable
from sekisho.launcher import staging
from sekisho.policy.grants import FileGrant, Grants
from sekisho.policy.paths import verdict
from sekisho.sandbox import Driver, SandboxSpec, Warm, make_ready
from sekisho.sandbox.drafts.changes import changes_of
from sekisho.sandbox.drafts.draft import Draft, Drafts
from sekisho.sandbox.drafts.transaction import discard, keep
from sekisho.sandbox.host.probe import probe, try_staging
from sekisho.sandbox.launched.kinds import Bubblewrap, Native

pytestmark = pytest.mark.real

DRIVERS: Final = [Bubblewrap, Native]
END_S: Final = 30.0
ROOT: Final = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
PLANT: Final = """
import os
open("fine", "w").close()
for name in ("redirect", "metacopy", "opaque", "whiteout"):
    for path in ("a", "sub", "fine"):
        try:
            os.setxattr(path, "user.overlay." + name, b"/etc")
        except OSError:
            pass
for number in (0, 259):
    try:
        os.mknod("device", 0o020666, number)
    except OSError:
        pass
try:
    os.chmod("fine", 0o4755)
except OSError:
    pass
os.symlink("/etc/passwd", "out")
os.symlink("sub/b", "fine-link")
print([line for line in open("/proc/self/mountinfo") if "draft" in line])
"""

if probe("native").missing:
    pytest.skip("no namespaces here: " + "; ".join(probe("native").missing), allow_module_level=True)
if try_staging():
    pytest.skip("no overlays here: " + try_staging(), allow_module_level=True)

Snapshot = dict[str, tuple[str, int, str]]


def snapshot(folder: Path) -> Snapshot:
    found: Snapshot = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        name = str(path.relative_to(folder))
        if stat.S_ISLNK(status.st_mode):
            found[name] = ("link", 0, str(path.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            found[name] = ("folder", mode, "")
        else:
            found[name] = ("file", mode, path.read_bytes().hex())
    return found


async def run(driver: Driver, spec: SandboxSpec) -> str:
    """Run it to its end; returns what it printed."""
    async with driver:
        sandbox = await driver.launch(await driver.plan(spec))
        try:
            async with asyncio.timeout(END_S):
                await sandbox.wait()
            for fd in (sandbox.stdout_fd, sandbox.stderr_fd):
                os.set_blocking(fd, True)
            printed, complained = os.read(sandbox.stdout_fd, 1 << 16), os.read(sandbox.stderr_fd, 1 << 16)
            return printed.decode() + complained.decode()
        finally:
            sandbox.close_fds()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder without a link on its way, closed to everybody but us."""
    real = tmp_path.resolve()
    real.chmod(0o700)
    return real


@pytest.fixture
def folder(place: Path) -> Path:
    """A granted folder with something in it."""
    folder = place / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_text("a\n")
    (folder / "sub" / "b").write_text("b\n")
    return folder


def shell(place: Path, script: str, *, owner: int | None = None, **grant: Any) -> SandboxSpec:
    files = FileGrant(**{"writable_paths": (str(place / "folder"),), "persist": "review", **grant})
    return SandboxSpec(
        name="p",
        argv=("/bin/sh", "-c", f"cd {place / 'folder'}\n{script}"),
        grants=Grants(files=files),
        drafts=str(place / "drafts" / "p"),
        owner=owner,
    )


def drafts_at(place: Path) -> Drafts:
    return Drafts(place / "drafts" / "p")


@pytest.mark.parametrize("driver", DRIVERS)
def test_writes_wait_across_starts_until_they_are_kept(
    driver: Callable[[], Driver], place: Path, folder: Path
) -> None:
    before = snapshot(folder)
    asyncio.run(run(driver(), shell(place, "echo more >> a; rm sub/b; echo new > sub/new; mkdir deep")))
    assert snapshot(folder) == before
    assert asyncio.run(run(driver(), shell(place, "cat a; ls sub"))) == "a\nmore\nnew\n"
    found = {one.path: one.what for draft in drafts_at(place).all() for one in changes_of(draft)}
    assert found == {"a": "changed", "deep": "added", "sub/b": "deleted", "sub/new": "added"}
    with drafts_at(place).turn():
        assert keep(drafts_at(place)) == 4
    assert (folder / "a").read_text() == "a\nmore\n"
    assert sorted(path.name for path in (folder / "sub").iterdir()) == ["new"]
    assert asyncio.run(run(driver(), shell(place, "cat a"))) == "a\nmore\n"


@pytest.mark.parametrize("driver", DRIVERS)
def test_writes_that_are_discarded_were_never_there(
    driver: Callable[[], Driver], place: Path, folder: Path
) -> None:
    before = snapshot(folder)
    asyncio.run(run(driver(), shell(place, "rm -r sub a; echo x > x")))
    with drafts_at(place).turn():
        discard(drafts_at(place))
    assert snapshot(folder) == before
    assert asyncio.run(run(driver(), shell(place, "cat a sub/b"))) == "a\nb\n"


@pytest.mark.parametrize("driver", DRIVERS)
def test_discarding_at_every_start_keeps_nothing_and_is_bounded(
    driver: Callable[[], Driver], place: Path, folder: Path
) -> None:
    before = snapshot(folder)
    script = "cat a; echo more >> a; cat a; head -c 200000000 /dev/zero > big 2>/dev/null || echo full"
    for _ in range(2):
        assert asyncio.run(run(driver(), shell(place, script, persist="discard"))) == "a\na\nmore\nfull\n"
    assert snapshot(folder) == before
    assert not (place / "drafts").exists()


@pytest.mark.parametrize("driver", DRIVERS)
def test_direct_writes_stay_direct(driver: Callable[[], Driver], place: Path, folder: Path) -> None:
    asyncio.run(run(driver(), shell(place, "echo more >> a", persist="direct")))
    assert (folder / "a").read_text() == "a\nmore\n"


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_plugin_can_plant_nothing_in_its_draft(
    driver: Callable[[], Driver], place: Path, folder: Path
) -> None:
    (place / "plant.py").write_text(PLANT)
    spec = shell(place, f"python3 {place}/plant.py", read_only_paths=(str(place / "plant.py"),))
    said = asyncio.run(run(driver(), spec))
    assert "overlay draft-" in said
    assert str(place) not in said.replace(str(folder), "")  # the mount table tells nothing of the host
    (draft,) = drafts_at(place).all()
    found = {one.path: one for one in changes_of(draft)}
    assert set(found) == {"out", "fine", "fine-link"}
    assert [path for path, one in found.items() if one.refused] == ["out"]
    with pytest.raises(Refused, match="out"), drafts_at(place).turn():
        keep(drafts_at(place))
    asyncio.run(run(driver(), shell(place, "rm out")))
    with drafts_at(place).turn():
        assert keep(drafts_at(place)) == 2
    assert (folder / "fine").stat().st_mode & 0o7000 == 0


def test_what_a_running_plugin_writes_is_not_touched(place: Path, folder: Path) -> None:
    async def during() -> None:
        async with Bubblewrap() as driver:
            sandbox = await driver.launch(await driver.plan(shell(place, "echo x > x; exec sleep 60")))
            with pytest.raises(Unavailable, match="runs"), drafts_at(place).turn(wait_s=0):
                pass
            with pytest.raises(Unavailable):
                await driver.launch(await driver.plan(shell(place, "true")))
            await sandbox.kill_tree()
            sandbox.close_fds()
            with drafts_at(place).turn():
                keep(drafts_at(place))

    asyncio.run(during())
    assert (folder / "a").exists()


def test_whoever_waits_comes_before_the_next_start(place: Path, folder: Path) -> None:
    async def during() -> None:
        async with Bubblewrap() as driver:
            plan = await driver.plan(shell(place, "echo x > x; exec sleep 60"))
            sandbox = await driver.launch(plan)
            drafts, pause = drafts_at(place), threading.Event()

            def wait_and_keep() -> None:
                with drafts.turn():
                    keep(drafts)

            waiter = asyncio.get_running_loop().run_in_executor(None, wait_and_keep)
            async with asyncio.timeout(END_S):
                while not drafts.is_wanted:
                    await asyncio.to_thread(pause.wait, 0.01)
                with pytest.raises(Unavailable):
                    await driver.launch(plan)
                await sandbox.kill_tree()
                sandbox.close_fds()
                await waiter

    asyncio.run(during())
    assert {"a", "sub"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_path_that_becomes_a_link_after_the_plan_is_not_followed(
    driver: Callable[[], Driver], place: Path, folder: Path
) -> None:
    secret = place / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")

    async def swap() -> None:
        async with driver() as walls:
            plan = await walls.plan(shell(place, "cat key a 2>/dev/null", persist="direct"))
            folder.rename(place / "aside")
            folder.symlink_to(secret)
            try:
                sandbox = await walls.launch(plan)
                sandbox.close_fds()
            finally:
                folder.unlink()
                (place / "aside").rename(folder)

    with pytest.raises(Misconfigured):
        asyncio.run(swap())
    assert asyncio.run(run(driver(), shell(place, "cat a", persist="direct"))) == "a\n"


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("persist", ["direct", "review"])
def test_the_folder_around_a_blocked_path_cannot_be_moved_away(
    driver: Callable[[], Driver], persist: str, place: Path, folder: Path
) -> None:
    (folder / "sub" / "deep" / "blocked").mkdir(parents=True)
    (folder / "sub" / "deep" / "blocked" / "key").write_text("secret")
    (folder / "sub" / "ro").mkdir()
    grant: dict[str, Any] = {
        "blocked_paths": (str(folder / "sub" / "deep" / "blocked"),),
        "read_only_paths": (str(folder / "sub" / "ro"),),
        "persist": persist,
    }
    renames = "; ".join(
        f"tried('{one}')" for one in ("sub", "sub/deep", "sub/deep/blocked", "sub/ro", "other")
    )
    program = f"""
import os
os.mkdir("other")
def tried(name):
    try:
        os.rename(name, "moved-" + name.replace("/", "-"))
        print(name)
    except OSError:
        pass
{renames}
"""
    (place / "attack.py").write_text(program)
    grant["read_only_paths"] = (*grant["read_only_paths"], str(place / "attack.py"))
    said = asyncio.run(run(driver(), shell(place, f"python3 {place}/attack.py", **grant)))
    assert said == "other\n"  # the one that stands around nothing
    assert (folder / "sub" / "deep" / "blocked" / "key").read_text() == "secret"
    assert (folder / "sub" / "ro").is_dir()
    twin = "mkdir twin; mv sub/b twin/b; cat twin/b; ls sub/deep/blocked"
    assert asyncio.run(run(driver(), shell(place, twin, **grant))) == "b\n"


PARTS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
LISTS = st.lists(PARTS, max_size=3, unique=True)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reads=LISTS, writes=LISTS, blocks=LISTS)
def test_what_is_inside_is_what_the_verdict_says(
    place: Path, reads: list[str], writes: list[str], blocks: list[str]
) -> None:
    tree = place / "tree"
    places = [""]
    for above in ("", *"abc", *(f"{one}/{two}" for one in "abc" for two in "abc")):
        places += [f"{above}/{name}".strip("/") for name in "abc"]
    for one in places:
        (tree / one).mkdir(parents=True, exist_ok=True)
        (tree / one / "file").write_text("")
    files = FileGrant(
        read_only_paths=tuple(str(tree / one) for one in reads),
        writable_paths=tuple(str(tree / one) for one in writes),
        blocked_paths=tuple(str(tree / one) for one in blocks),
    )
    paths = [str(tree / one / "file") for one in places]
    tries = "".join(
        f"if [ -r {one} ]; then if (: >> {one}) 2>/dev/null; then echo write; else echo read; fi; "
        "else echo none; fi\n"
        for one in paths
    )
    spec = SandboxSpec(name="p", argv=("/bin/sh", "-c", tries), grants=Grants(files=files))
    for driver in DRIVERS:
        said = asyncio.run(run(driver(), spec)).split()
        assert dict(zip(paths, said, strict=True)) == {one: verdict(files, one) for one in paths}


# What a plugin may do to a folder, as steps for a process of ours below an overlay.

NAMES = st.sampled_from(["a", "b", "sub", "sub/b", "sub/c", "sub/deep", "sub/deep/d", "new", "new/x"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.binary(max_size=8).map(bytes.hex)),
        st.tuples(st.just("append"), NAMES, st.binary(max_size=8).map(bytes.hex)),
        st.tuples(st.just("remove"), NAMES, st.just("")),
        st.tuples(st.just("mkdir"), NAMES, st.just("")),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("link"), NAMES, st.sampled_from(["target", "sub/target", "."])),
        st.tuples(st.just("twin"), NAMES, NAMES),
        st.tuples(st.just("chmod"), NAMES, st.sampled_from(["600", "755", "700", "500", "4711"])),
    ),
    max_size=12,
)


def carry_out(folder: Path, step: tuple[str, str, str]) -> None:
    what, name, value = step
    path = folder / name
    match what:
        case "write":
            path.write_bytes(bytes.fromhex(value))
        case "append":
            with path.open("ab") as file:
                file.write(bytes.fromhex(value))
        case "remove" if path.is_dir() and not path.is_symlink():
            path.rmdir()
        case "remove":
            path.unlink()
        case "mkdir":
            path.mkdir()
        case "rename":
            path.rename(folder / value)
        case "link":
            path.symlink_to(value)
        case "twin":
            path.hardlink_to(folder / value)
        case "chmod" if not path.is_symlink():
            path.chmod(int(value, 8))
        case _:
            pass


def below_an_overlay(draft: Draft, steps: list[tuple[str, str, str]], uid: int) -> Snapshot:
    """Carry the steps out as a plugin would, in a process of our own; returns what it saw at the end."""
    answer, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if uid:
                staging.become_user(uid)
            staging.enter()
            wish = {
                "path": draft.folder,
                "upper": str(draft.upper),
                "work": str(draft.work),
                "tag": draft.tag,
            }
            staging.cover({**wish, "size": 0}, None)
            for step in steps:
                try:
                    carry_out(Path(draft.folder), step)
                except OSError:
                    continue
            os.write(say, json.dumps(snapshot(Path(draft.folder))).encode())
            os._exit(0)
        finally:
            os.write(2, traceback.format_exc().encode())  # nothing flushes after _exit
            os._exit(1)
    os.close(say)
    with os.fdopen(answer, "rb") as file:
        text = file.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return {name: (one[0], one[1], one[2]) for name, one in json.loads(text).items()}


def decide(drafts: Drafts, uid: int, *, is_kept: bool) -> None:
    """Keep or discard, as an operator who is this user."""
    pid = os.fork()
    if pid == 0:
        try:
            if uid:
                staging.become_user(uid)
            if is_kept:
                keep(drafts)
            else:
                discard(drafts)
            os._exit(0)
        finally:
            os.write(2, traceback.format_exc().encode())  # nothing flushes after _exit
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.requirement("B4.4")
@pytest.mark.parametrize("uid", [0, pytest.param(65_534, marks=ROOT)])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS, more=STEPS, is_kept=st.booleans())
def test_whatever_a_plugin_does_is_kept_as_it_saw_it_or_leaves_no_trace(
    uid: int, steps: list[tuple[str, str, str]], more: list[tuple[str, str, str]], is_kept: bool
) -> None:
    # Not below pytest's own folder, which each pytest closes to other users when it starts.
    with tempfile.TemporaryDirectory(prefix="sekisho-drafts-") as own:
        place = Path(own).resolve()
        folder = place / "folder"
        (folder / "sub" / "deep").mkdir(parents=True)
        for name in ("a", "sub/b", "sub/deep/d"):
            (folder / name).write_text(name)
        draft = drafts_at(place).of(str(folder))
        draft.make_ready(None)
        for path in (place, *place.rglob("*")):
            os.chown(path, uid or os.geteuid(), -1)
        let_the_clock_move_on(place)
        before = snapshot(folder)
        below_an_overlay(draft, steps, uid)
        saw = below_an_overlay(draft, more, uid)
        assert snapshot(folder) == before
        decide(drafts_at(place), uid, is_kept=is_kept)
        if is_kept:
            plain = {name: (kind, mode & 0o777, content) for name, (kind, mode, content) in saw.items()}
            assert snapshot(folder) == plain
        else:
            assert snapshot(folder) == before
        assert not any(changes_of(one) for one in drafts_at(place).all())


# A user of its own, where root starts the plugin.

FIRST, SECOND = 600_001, 600_002


@ROOT
@pytest.mark.parametrize("driver", DRIVERS)
def test_two_plugins_are_two_users_and_neither_is_root(
    driver: Callable[[], Driver], place: Path, folder: Path
) -> None:
    del folder

    async def users(owner: int) -> set[str]:
        async with driver() as walls:
            spec = shell(place, "exec sleep 60", owner=owner, persist="direct")
            sandbox = await walls.launch(await walls.plan(spec))
            found = set[str]()
            for pid in (sandbox.pid, sandbox.inner_pid):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith(("Uid:", "Gid:", "Groups:")):
                        found |= set(line.split()[1:])
            await sandbox.kill_tree()
            sandbox.close_fds()
            return found

    assert asyncio.run(users(FIRST)) == {str(FIRST)}
    assert asyncio.run(users(SECOND)) == {str(SECOND)}


@ROOT
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("persist", ["direct", "review"])
def test_what_it_writes_belongs_to_the_folders_owner(
    driver: Callable[[], Driver], persist: str, place: Path, folder: Path
) -> None:
    for path in (folder, folder / "a", folder / "sub", folder / "sub" / "b"):
        os.chown(path, 1234, 1235)
    folder.chmod(0o700)
    (folder / "a").chmod(0o600)
    script = "cat a; echo new > new; mkdir made; echo more >> a; ls -ln a | cut -d' ' -f3"
    assert asyncio.run(run(driver(), shell(place, script, owner=FIRST, persist=persist))) == "a\n1000\n"
    if persist == "review":
        with drafts_at(place).turn():
            keep(drafts_at(place))
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in (folder, *folder.rglob("*"))}
    assert owners == {(1234, 1235)}
    assert (folder / "a").read_text() == "a\nmore\n"


@ROOT
@pytest.mark.parametrize("driver", DRIVERS)
def test_its_own_user_may_less_than_root_and_its_programs_still_work(
    driver: Callable[[], Driver], place: Path, folder: Path
) -> None:
    (folder / "others").write_text("somebody's")
    os.chown(folder / "others", 4321, 4321)
    (folder / "others").chmod(0o600)
    read = place / "read"
    read.mkdir(mode=0o700)
    (read / "file").write_text("readable\n")
    script = f"cat others 2>&1 | grep -c denied; cat {read}/file; id -u; echo out > /dev/stdout; python3 -c 'print(1)'"
    spec = shell(place, script, owner=FIRST, persist="direct", read_only_paths=(str(read),))
    assert asyncio.run(run(driver(), spec)) == "1\nreadable\n1000\nout\n1\n"


@ROOT
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_plugin_that_is_forked_in_its_walls_is_its_own_user_too(
    driver: Callable[[], Driver], place: Path, folder: Path
) -> None:
    (place / "plugin.py").write_text(
        f"import os; open('{folder}/log', 'a').write('once\\n'); print(os.getuid())"
    )
    spec = replace(
        shell(place, "", owner=FIRST, persist="direct", read_only_paths=(str(place / "plugin.py"),)),
        argv=("python3", str(place / "plugin.py")),
        search_path="/usr/bin:/bin",
    )

    async def twice() -> list[str]:
        said = []
        async with driver() as walls:
            plain = await walls.plan(spec)
            ready = make_ready(spec, plain.command, ("json",))
            assert ready is not None
            warm_plan = await walls.plan(ready[0])
            made = Warm(
                driver=walls, plain=plain, warm=warm_plan, message=ready[1], log=lambda *_, **__: None
            )
            async with made as warm:
                for _ in range(2):
                    running = await warm.start()
                    async with asyncio.timeout(END_S):
                        assert (await running.wait()).code == 0
                    os.set_blocking(running.stdout_fd, True)
                    said.append(os.read(running.stdout_fd, 100).decode().strip())
                    running.close_fds()
                assert warm.raised == 1
        return said

    assert asyncio.run(twice()) == ["1000", "1000"]
    assert (folder / "log").read_text() == "once\nonce\n"
    assert (folder / "log").stat().st_uid == folder.stat().st_uid


def test_a_wish_that_cannot_be_granted_is_refused_before_anything_starts(place: Path, folder: Path) -> None:
    for path in (folder / "a", place):
        with pytest.raises(SekishoError, match=r"collected|inside it"):
            asyncio.run(run(Native(), shell(place, "true", writable_paths=(str(path),))))
