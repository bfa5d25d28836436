"""A world of its own for a test: a root file system of its own, a network of its own, and a site on the far side of it.

What is written to `/etc`, `/app` or `/tmp` here is written to memory and gone with the world. The house's network has one
way out, a cable to the site's network, where the site owns a public-looking address and serves TLS under an authority
that only this world trusts. Nothing of the machine outside is changed; when the world cannot be made, the test is skipped
with the reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from tests.real.site_certificate import write_site

SITE_ADDRESS: Final = "93.184.216.34"  # public-looking, so that the gate's address rule is really asked
HOUSE_ADDRESS: Final = "93.184.216.35"
READY_S: Final = 60.0
ROOT: Final = Path(__file__).resolve().parents[2]
_CLONE_NEWNET: Final = 0x40000000
_T = TypeVar("_T")

_BUILD: Final = """
set -e
world=$1 folder=$2 tree=$3; shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs "$world"
mkdir "$world/upper" "$world/work" "$world/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$world/upper,workdir=$world/work" "$world/root"
for point in "$@"; do mount --rbind "$point" "$world/root$point"; done
mount -t tmpfs tmpfs "$world/root/tmp"
chmod 1777 "$world/root/tmp"
for kept in "$folder" "$tree"; do  # either may lie in the folder that was just covered
    mkdir -p "$world/root$kept"
    mount --bind "$kept" "$world/root$kept"
done
cd "$world/root"
mkdir -p old
pivot_root . old
umount -l /old
rmdir /old
ip link set lo up
echo ready
exec sleep infinity
"""


_TLS: Final = """
import asyncio, ssl, sys
address, certificate, port = sys.argv[1], sys.argv[2], int(sys.argv[3])

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def serve(reader, writer):
    try:
        inner = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer))

async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, address, 443, ssl=context)
    print('{"event": "ready"}', flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


class Holder:
    """A process that does nothing but keep its namespaces alive."""

    def __init__(self, words: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        if self.process.stdout.readline() != "ready\n":
            reason = self.process.stderr.read().strip().splitlines()
            self.close()
            pytest.skip(f"a private world cannot be made here: {reason[-1] if reason else 'unknown reason'}")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


class Program:
    """A program of the world. Its output is kept in a file beside it."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._is_stopped = False
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=dict(environment),
                start_new_session=True,
            )  # fmt: skip

    def line(self) -> dict[str, Any]:
        """The next line of its output, which is JSON."""
        output = self.process.stdout
        assert output is not None
        readable, _, _ = select.select([output], [], [], READY_S)
        line = output.readline() if readable else b""
        assert line, f"no line within {READY_S:g} s:\n{self.log.read_text()[-4000:]}"
        return dict(json.loads(line))

    def stop(self) -> None:
        """Ask it to end; a program that stays is killed. Once is enough, twice does no harm."""
        if self._is_stopped:
            return
        self._is_stopped = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(
                    self.process.pid, signal.SIGKILL
                )  # workers that outlive their master hold the pipe open
            self.process.communicate()


class World:
    """See the head of this page."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        self.host = host
        self._programs: list[Program] = []
        self._sites: list[Program] = []
        self._house: Holder | None = None
        self._site: Holder | None = None

    def build(self) -> None:
        """Make both networks and the root; skips the test when that cannot be done."""
        for program in ("unshare", "nsenter", "ip", "pivot_root"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed; a private world cannot be made")
        if os.geteuid() != 0:
            pytest.skip("a private world is made by root: it has a network cable and a root of its own")
        world = self.folder / "world"
        world.mkdir()
        places = [str(world), str(self.folder), str(ROOT)]
        words = ["unshare", "--mount", "--net", "sh", "-c", _BUILD, "sh", *places]
        self._house = Holder([*words, *_mount_points()])
        hold = "ip link set lo up && echo ready && exec sleep infinity"
        self._site = Holder(["unshare", "--net", "sh", "-c", hold])
        self._lay_cable()
        self._write_names_and_trust()

    def _lay_cable(self) -> None:
        site = str(self.site_pid)
        for line in (
            f"link add near type veth peer name far netns {site}",
            f"address add {HOUSE_ADDRESS}/31 dev near",
            "link set near up",
        ):
            self._run("house", "ip", *line.split())
        self._run("site", "ip", *f"address add {SITE_ADDRESS}/31 dev far".split())
        self._run("site", "ip", "link", "set", "far", "up")

    def _write_names_and_trust(self) -> None:
        self.certificate = self.folder / "site.pem"
        authority = write_site(self.certificate, self.host)
        names = f"127.0.0.1 localhost plugin-wordpress mcp-core\n{SITE_ADDRESS} {self.host}\n"
        self.write("/etc/hosts", names)
        hashed = subprocess.run(
            ["openssl", "x509", "-noout", "-subject_hash"],  # noqa: S607
            input=authority,
            capture_output=True,
            check=True,
        ).stdout.decode()
        self.write(f"/etc/ssl/certs/{hashed.strip()}.0", authority.decode())
        bundle = Path("/etc/ssl/certs/ca-certificates.crt")
        self.write(str(bundle), bundle.read_text() + authority.decode())

    @property
    def site_pid(self) -> int:
        """A process in the site's network."""
        assert self._site is not None
        return self._site.process.pid

    def words(self, side: str, *words: str) -> list[str]:
        """How a command is started on one side: `house` has root and network of its own, `site` the network only."""
        assert self._house is not None
        if side == "house":
            target = str(self._house.process.pid)
            return ["nsenter", "--target", target, "--mount", "--net", f"--wdns={self.folder}", "--", *words]
        return ["nsenter", "--target", str(self.site_pid), "--net", "--", *words]

    def _run(self, side: str, *words: str, **more: Any) -> None:
        done = subprocess.run(self.words(side, *words), capture_output=True, check=False, timeout=30, **more)
        if done.returncode != 0:
            pytest.skip(f"a private world cannot be made here: {done.stderr.decode().strip()[-200:]}")

    def write(self, path: str, text: str) -> None:
        """A file that only the house sees."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1"'
        self._run("house", "sh", "-c", script, "sh", path, input=text.encode())

    def make_folder(self, path: str) -> None:
        """A folder that only the house sees."""
        self._run("house", "mkdir", "-p", path)

    def read(self, path: str) -> str:
        """A file as the house sees it."""
        done = subprocess.run(self.words("house", "cat", path), capture_output=True, check=True, timeout=30)
        return done.stdout.decode()

    def start_tls(self, port: int) -> Program:
        """TLS before a server of the site's that speaks plain HTTP on loopback."""
        words = (sys.executable, "-I", "-c", _TLS, SITE_ADDRESS, str(self.certificate), str(port))
        self._sites.append(self.start("site", *words))
        return self._sites[-1]

    def start(self, side: str, *words: str, **environment: str) -> Program:
        """Start a program; it ends with the world at the latest."""
        clean = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environment}
        log = self.folder / f"program-{len(self._programs)}.log"
        program = Program(self.words(side, *words), clean, log)
        self._programs.append(program)
        return program

    def sekisho(self, *words: str, **environment: str) -> Program:
        """The command line, inside."""
        run = "import sys; from sekisho.cli.app import main; sys.exit(main())"
        return self.start("house", sys.executable, "-I", "-c", run, *words, **environment)

    def visit(self, work: Callable[[], _T]) -> _T:
        """Do something in the house's network, in a thread: a thread may be where its process is not."""
        assert self._house is not None
        results: list[_T] = []
        errors: list[BaseException] = []

        def there() -> None:
            try:
                with Path(f"/proc/{self._house_pid}/ns/net").open("rb") as network:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(network.fileno(), _CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again by who waits
                errors.append(error)

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    @property
    def _house_pid(self) -> int:
        assert self._house is not None
        return self._house.process.pid

    def stop_site(self) -> None:
        """The site goes away: its address is there, and nobody listens."""
        for program in self._sites:
            program.stop()

    def close(self) -> None:
        """End everything that was started here, last first; what does not end well keeps nothing else alive."""
        with contextlib.ExitStack() as stack:
            for holder in (self._site, self._house):
                if holder is not None:
                    stack.callback(holder.close)
            for program in self._programs:
                stack.callback(program.stop)


@contextmanager
def private_world(folder: Path, host: str) -> Iterator[World]:
    """A world whose site is called `host`."""
    world = World(folder, host)
    try:
        world.build()
        yield world
    finally:
        world.close()


def _mount_points() -> list[str]:
    """What is mounted on the machine's root, uppermost only, so that all of it is there in the new root as well."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = sorted({line.split()[4].encode().decode("unicode_escape") for line in lines} - {"/"})
    chosen: list[str] = []
    for point in points:
        inside = any(point.startswith(one + "/") for one in chosen)
        if not inside and point != "/tmp" and not point.startswith("/tmp/") and Path(point).exists():
            chosen.append(point)
    return chosen
