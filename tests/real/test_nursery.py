"""The nursery: what a forked child has of its own, what it has not, and that nobody outlives anybody."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from tests.real.conftest import (
    ECHO,
    ECHO_TOOLS,
    House,
    alive,
    birth_of,
    command_of,
    common,
    kill,
    plugin,
    until,
)

from sekisho.assembly.births import NO_ORDERS, Born, Contents, Ended, Job, Message, receive, send

pytestmark = pytest.mark.real

ANSWER_S: Final = 30.0
EVERYBODY: Final = ("egress", "plugin echo", "plugin granted")

# A nursery whose children tell about themselves instead of taking up a role.
TELLER: Final = """
from sekisho.launcher.forking import AT_FORK
AT_FORK.take_over()
import ctypes, gc, json, os, random, secrets, signal, ssl, sys, uuid
from sekisho.assembly.nursery import serve_on
random.random(); uuid.uuid4(); ssl.RAND_bytes(8)  # each generator has a state to inherit
born = serve_on(int(sys.argv[2]), "1")
if born is None:
    os._exit(0)
job, letter = born
said = letter.open()
asked, orders = said.environment, bytes(said.orders).decode()
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
def text(key):
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()).hex()
signalled = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signalled), 0, 0, 0)
handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
print(json.dumps({
    "random": [random.random(), secrets.token_hex(), uuid.uuid4().hex, os.urandom(16).hex(), ssl.RAND_bytes(16).hex(),
               text(ec.generate_private_key(ec.SECP256R1())), text(ed25519.Ed25519PrivateKey.generate()),
               text(x25519.X25519PrivateKey.generate())],
    "descriptors": {n: os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                    if os.path.exists(f"/proc/self/fd/{n}")},
    "environment": dict(os.environ), "asked": asked, "orders": orders,
    "parent": os.getppid(), "signalled": signalled.value,
    "handlers": [getattr(one, "__name__", None) or one.name for one in handlers],
    "frozen": gc.get_freeze_count() > 10_000, "collects": gc.isenabled(), "threads": len(os.listdir("/proc/self/task")),
    "words": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0")[-3:],
}), flush=True)
if job.arguments[-1] == "stay":
    signal.pause()
os._exit(7)
"""


class Teller:
    """A nursery, and our end of its socket."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, "-I", "-c", TELLER, "sekisho.assembly", str(theirs.fileno()), " " * 400]
            self.process = subprocess.Popen(
                words, pass_fds=[theirs.fileno()], env={"SECRET": "of up"}, stdin=subprocess.DEVNULL
            )
        self.control.settimeout(ANSWER_S)
        self._count = 0

    def fork(
        self, *arguments: str, environment: dict[str, str] | None = None, orders: bytes | None = None
    ) -> dict[str, Any]:
        """What one child says of itself."""
        self._count += 1
        job = Job(self._count, arguments)
        output, theirs = os.pipe()
        letter = os.memfd_create("letter")
        said = NO_ORDERS if orders is None else msgspec.Raw(orders)
        os.write(letter, msgspec.json.encode(Contents(environment or {}, said)))
        send(self.control, job, (letter, theirs))
        os.close(letter)
        os.close(theirs)
        assert isinstance(self.hear(), Born)
        with os.fdopen(output, "rb") as reader:
            assert select.select([reader], [], [], ANSWER_S)[0]
            return dict(json.loads(reader.readline()))

    def hear(self) -> Message:
        """The next message."""
        data, fds = receive(self.control)
        for fd in fds:
            os.close(fd)
        assert data, "the nursery ended"
        message: Message = msgspec.json.decode(data, type=Message)
        return message

    def close(self) -> None:
        self.control.close()
        try:
            self.process.wait(ANSWER_S)
        finally:
            self.process.kill()
            self.process.wait(ANSWER_S)


@pytest.fixture
def teller() -> Iterator[Teller]:
    made = Teller()
    yield made
    made.close()


@pytest.mark.threat("T-READ-CORE")
def test_siblings_share_no_randomness(teller: Teller) -> None:
    drawn = []
    for _ in range(3):
        drawn.append(teller.fork("plugin")["random"])
        assert teller.hear() == Ended(len(drawn), 7)
    for kind, values in enumerate(zip(*drawn, strict=True)):
        assert len(set(values)) == len(values), kind


@pytest.mark.threat("T-READ-CORE")
def test_a_child_has_three_descriptors_and_its_own_environment(teller: Teller) -> None:
    first = teller.fork("plugin", "stay", environment={"API_KEY": "one"}, orders=b'{"name":"one"}')
    shown = teller.fork("egress")
    descriptors = dict(shown["descriptors"])
    assert set(descriptors) == {"0", "1", "2"}
    assert descriptors["0"] == os.devnull
    assert descriptors["1"].startswith("pipe:")
    assert descriptors["1"] != first["descriptors"]["1"]
    assert (first["asked"], shown["asked"]) == ({"API_KEY": "one"}, {})
    assert (first["orders"], shown["orders"]) == ('{"name":"one"}', "null")
    assert "API_KEY" not in shown["environment"]


def test_a_child_has_its_own_signals_title_and_collector(teller: Teller) -> None:
    shown = teller.fork("plugin", "the config", "the home")
    assert shown["handlers"] == ["default_int_handler", "SIG_DFL", "SIG_DFL"]
    assert (shown["parent"], shown["signalled"]) == (teller.process.pid, signal.SIGKILL)
    assert shown["words"] == ["plugin", "the config", "the home"]
    assert (shown["frozen"], shown["collects"], shown["threads"]) == (True, True, 1)


@pytest.mark.threat("T-ORPHAN")
def test_children_die_with_the_nursery_and_the_nursery_with_its_socket(teller: Teller) -> None:
    teller.fork("plugin", "stay")
    children = Path(f"/proc/{teller.process.pid}/task/{teller.process.pid}/children").read_text().split()
    family = {int(pid): birth_of(int(pid)) for pid in children}
    assert len(alive(family)) == 1
    teller.control.close()
    assert teller.process.wait(ANSWER_S) == 0
    until(lambda: not alive(family), "the child is gone")


@pytest.mark.threat("T-ORPHAN")
def test_a_killed_nursery_takes_its_children_along_and_all_come_back(house: House) -> None:
    until(lambda: house.answers("granted__echo", text="a"), "the plugin serves")
    nursery, core = house.pid("nursery"), house.pid("core")
    family = {pid: birth_of(pid) for pid in house.tree(nursery)}
    assert {house.pid(role) for role in EVERYBODY} <= set(family)
    kill(nursery)
    until(lambda: not alive(family), "its children, launchers and sandboxes are gone")
    until(lambda: house.answers("granted__echo", text="b"), "the plugin comes back")
    until(lambda: house.answers("echo__echo", text="b"), "the other one too")
    until(lambda: all(map(house.pid, EVERYBODY)), "everybody is back")
    assert house.pid("core") == core  # it is no child of the nursery


def test_every_process_is_told_apart_by_its_command_line(house: House) -> None:
    until(lambda: all(map(house.pid, EVERYBODY)), "everybody runs")
    nursery = house.pid("nursery")
    for role in EVERYBODY:
        words = command_of(house.pid(role))
        assert words[4:] == [
            str(nursery),
            role.split()[0],
            str(house.config),
            str(house.home),
            *role.split()[1:],
        ]
    launchers = [
        pid
        for pid in house.tree(house.pid("plugin echo"))
        if "/launcher/__main__.py" in " ".join(command_of(pid))
    ]
    assert len(launchers) == 1


@pytest.mark.threat("T-READ-CORE")
def test_the_core_shares_no_image_with_what_stands_next_to_plugins(house: House) -> None:
    def layout(role: str) -> set[str]:
        lines = Path(f"/proc/{house.pid(role)}/maps").read_text().splitlines()
        return {
            next(line.split("-")[0] for line in lines if line.endswith(part))
            for part in ("[stack]", "[heap]")
        }

    until(lambda: all(map(house.pid, EVERYBODY)), "everybody runs")
    assert layout("plugin echo") == layout("egress")  # what the nursery costs, written down in decision 0010
    assert layout("core") != layout("egress")


@pytest.mark.threat("T-READ-CORE")
def test_the_plugin_server_gets_our_environment_and_the_egress_process_does_not(
    build: Callable[[str], House], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKISHO_TEST_TOKEN", "needle-in-the-environment")
    house = build(common() + plugin("echo", ECHO, operations=ECHO_TOOLS))
    house.unaffected()
    for role in ("nursery", "egress"):
        assert not _holds(house.pid(role), b"needle-in-the-environment"), role
    assert _holds(house.pid("plugin echo"), b"needle-in-the-environment")


@pytest.mark.threat("T-READ-CORE")
def test_a_plugin_server_knows_its_own_plugin_and_no_other(build: Callable[[str], House]) -> None:
    def reaching(name: str) -> str:
        policy = f'[plugins.servers.network_policy]\nallowed_domains = ["needle-of-{name}.example"]\n'
        return plugin(name, ECHO, operations=ECHO_TOOLS) + policy

    house = build(common() + reaching("echo") + reaching("other"))
    for name in ("echo", "other"):
        until(lambda name=name: house.answers(f"{name}__echo", text="a"), f"{name} serves")  # type: ignore[misc]
    for ours, others in (("echo", "other"), ("other", "echo")):
        assert _holds(house.pid(f"plugin {ours}"), f"needle-of-{ours}".encode())
        assert not _holds(house.pid(f"plugin {ours}"), f"needle-of-{others}".encode())
    assert not _holds(house.pid("nursery"), b"needle-of-")


def test_an_edited_file_counts_from_the_reload_on_also_for_who_starts_again(
    build: Callable[[str], House],
) -> None:
    house = build(common() + plugin("echo", ECHO, operations=ECHO_TOOLS))
    until(lambda: house.answers("echo__echo", text="a"), "the plugin serves")
    first = house.pid("plugin echo")
    house.config.write_text("half of an edi")
    kill(first)
    until(lambda: house.pid("plugin echo") not in (0, first), "its plugin server starts again")
    until(lambda: house.answers("echo__echo", text="b"), "the plugin serves as before")


def _holds(pid: int, needle: bytes) -> bool:
    """Whether a text stands anywhere in the memory of a process."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            if " rw" not in line or "[v" in line:
                continue
            try:
                memory.seek(start)
                if needle in memory.read(end - start):
                    return True
            except OSError:
                continue
    return False


KILLED_AT: Final = """
import ctypes, os, select, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans come to us
run, config, home, delay = sys.argv[1:]
up = subprocess.Popen([sys.executable, "-I", "-c", run, config, home], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
select.select([up.stdout], [], [], float(delay))
os.kill(up.pid, 9)
end = time.monotonic() + 20
while time.monotonic() < end:
    try:
        if os.waitpid(-1, os.WNOHANG)[0] == 0:
            select.select([], [], [], 0.02)
    except ChildProcessError:
        print("nobody is left")
        break
"""


@pytest.mark.threat("T-ORPHAN")
@pytest.mark.parametrize("delay", [0.1, 0.25, 0.4, 0.55, 0.7, 60.0])
def test_up_killed_at_any_moment_leaves_nobody(walls: None, tmp_path: Path, delay: float) -> None:
    from tests.real.conftest import _RUN_UP

    config = tmp_path / "sekisho.toml"
    config.write_text(
        '[core_server]\nbind_addr = "127.0.0.1:0"\n'
        + common()
        + plugin("echo", ECHO, operations=ECHO_TOOLS)
        + plugin("other", ECHO, operations=ECHO_TOOLS)
    )
    words = [sys.executable, "-I", "-c", KILLED_AT, _RUN_UP, str(config), str(tmp_path / "home"), str(delay)]
    ended = subprocess.run(words, capture_output=True, timeout=90, check=False)
    assert ended.stdout == b"nobody is left\n", ended.stderr


def test_a_house_of_many_plugins_starts_them_all(build: Callable[[str], House]) -> None:
    names = [f"echo{number}" for number in range(6)]
    house = build(common() + "".join(plugin(name, ECHO, operations=ECHO_TOOLS) for name in names))
    for name in names:
        assert house.call(f"{name}__echo", text=name).text == name
