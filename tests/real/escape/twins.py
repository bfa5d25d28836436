"""The harmless twins of the probes: what the same walls must let an honest plugin do.

Programs that are not on this machine are told as absent, with the reason; what is here must work.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import dev
from tests.real.escape.drivers import DRIVERS
from tests.real.escape.internet import COMMIT
from tests.real.escape.program import BOOT, payload
from tests.real.escape.stage import Scene, open_scene

__all__ = ["ABSENT", "JOBS", "Job", "played_twins"]

ABSENT: Final = "absent: "
SCENE_S: Final = 180.0
HOST: Final = "wordpress.example.com"
NODE_WORKS: Final = (
    "const os=require('os'),fs=require('fs');fs.writeFileSync(os.tmpdir()+'/x','1');"
    "const {Worker}=require('worker_threads');"
    "require('child_process').execFile('sh',['-c','echo child'],(e,out)=>"
    "new Worker('require(\"worker_threads\").parentPort.postMessage(1)',{eval:true})"
    ".on('message',m=>console.log(m,out.trim())))"
)
INTERFACES: Final = "console.log(typeof require('os').networkInterfaces())"
NODE_FETCH: Final = "fetch('https://wordpress.example.com/').then(r=>r.text()).then(t=>console.log(t))"
URLLIB: Final = (
    "import ssl,sys,urllib.request as u;"
    "c=ssl.create_default_context(cafile=sys.argv[1]);"
    "print(u.urlopen('https://wordpress.example.com/',context=c,timeout=20).read().decode())"
)
HTTPX: Final = (
    "import sys; sys.path.insert(0, sys.argv[2]); import ssl, httpx2\n"
    "with httpx2.Client(verify=ssl.create_default_context(cafile=sys.argv[1]), timeout=20) as client:\n"
    "    print(client.get('https://wordpress.example.com/').text)"
)
HTTPX_MODULES: Final = (
    "httpx2",
    "httpcore2",
    "h11",
    "idna",
    "anyio",
    "certifi",
    "truststore",
    "typing_extensions",
)
PYTHON: Final = {
    "asyncio": (
        (
            "import asyncio\nasync def main():\n"
            "    s = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)\n"
            "    r, w = await asyncio.open_connection(*s.sockets[0].getsockname())\n"
            "    p = await asyncio.create_subprocess_exec('true')\n"
            "    return await r.read(), await p.wait()\nprint(asyncio.run(main()))"
        ),
        "(b'', 0)",
    ),
    "multiprocessing": (
        (
            "import multiprocessing as mp\nif __name__ == '__main__':\n"
            "    with mp.get_context('fork').Pool(2) as pool:\n        print(pool.map(abs, [-1, -2]))"
        ),
        "[1, 2]",
    ),
    "threads and signals": (
        (
            "import threading, signal, os\nheard = []\nsignal.signal(signal.SIGUSR1, lambda *_: heard.append(1))\n"
            "t = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGUSR1)); t.start(); t.join(); print(heard)"
        ),
        "[1]",
    ),
    "files": (
        (
            "import os, shutil, sqlite3, tempfile, mmap\nwith tempfile.TemporaryDirectory() as d:\n"
            "    p = os.path.join(d, 'f'); open(p, 'w').write('x'); os.chmod(p, 0o755); os.symlink(p, p + 'l')\n"
            "    os.link(p, p + 'h'); shutil.copytree(d, d + '2', symlinks=True); shutil.rmtree(d + '2')\n"
            "    b = sqlite3.connect(p + '.db'); b.execute('create table t (a)'); b.commit(); print(os.stat(p).st_nlink)"
        ),
        "2",
    ),
    "landlock of its own": (
        "import ctypes, os\nprint(ctypes.CDLL(None).syscall(444, None, 0, 1) > 0 or 'refused')",
        None,
    ),
}
GIT: Final = (
    "rm -rf one two && git init -q one && cd one && git config user.email a@b.c && git config user.name a "
    "&& echo x > f && git add f && git commit -q -m first && cd .. && git clone -q one two && git -C two log --format=%s"
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One program, and what it must print; None where anything but a failure will do."""

    program: str
    arguments: tuple[str, ...]
    prints: str | None
    needs_network: bool = False
    is_unaware: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def _jobs() -> Iterator[tuple[str, Job]]:
    for name, (code, prints) in PYTHON.items():
        yield f"python: {name}", Job(program="python3", arguments=("-I", "-c", code), prints=prints)
    yield (
        "sqlite3",
        Job(
            program="sqlite3", arguments=("x.db", "create table if not exists t(a); select 6*7;"), prints="42"
        ),
    )
    yield "git: init, commit, clone", Job(program="sh", arguments=("-c", GIT), prints="first")
    for node in ("node", "node22"):
        yield f"{node}: network interfaces", Job(program=node, arguments=("-e", INTERFACES), prints="object")
        yield (
            f"{node}: files, worker, child",
            Job(program=node, arguments=("-e", NODE_WORKS), prints="1 child"),
        )
    yield (
        "deno: a program",
        Job(program="deno", arguments=("eval", "--no-lock", "console.log(6*7)"), prints="42"),
    )
    yield from _network()


def _network() -> Iterator[tuple[str, Job]]:
    said = f"DECOY {HOST} at 93.184.216.34"
    certificate = {"NODE_EXTRA_CA_CERTS": "{ca}", "DENO_CERT": "{ca}"}
    deno = ("eval", "--no-lock", NODE_FETCH)
    fetches: Mapping[str, tuple[str, tuple[str, ...]]] = {
        "curl": ("curl", ("-sS", "--max-time", "20", "--cacert", "{ca}", f"https://{HOST}/")),
        "urllib": ("python3", ("-I", "-c", URLLIB, "{ca}")),
        "httpx": ("python3", ("-I", "-c", HTTPX, "{ca}", "{modules}")),
        "node fetch": ("node", ("-e", NODE_FETCH)),
        "node22 fetch": ("node22", ("-e", NODE_FETCH)),
        "deno fetch": ("deno", deno),
    }
    listed = ("-c", "http.sslCAInfo={ca}", "ls-remote", f"https://{HOST}/repository.git")
    every = {name: (*words, said) for name, words in fetches.items()}
    every["git"] = ("git", listed, f"{COMMIT}\trefs/heads/{HOST}")
    for name, (program, arguments, prints) in every.items():
        for unaware in (False, True):
            how = "without proxy variables" if unaware else "with proxy variables"
            yield (
                f"{name}, {how}",
                Job(
                    program=program, arguments=arguments, prints=prints, needs_network=True, is_unaware=unaware,
                    environment=certificate,
                ),
            )  # fmt: skip


JOBS: Final = dict(_jobs())


def where_is(program: str) -> Path | None:
    """A program of this machine, or one that the project installed."""
    if program == "node22":
        found = dev.CACHE / "demo" / "node" / "node_modules" / ".bin" / "node"
        return found.resolve() if found.exists() else None
    usual = shutil.which(program, path="/usr/local/bin:/usr/bin:/bin")
    own = dev.CACHE / program / "bin" / program  # where dev.py installs Deno
    return Path(usual) if usual else own.resolve() if own.exists() else None


@functools.cache
def played_twins(driver: str, who: str, patience: float = 1.0) -> dict[str, str]:
    """What every twin printed behind this driver's walls."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.real.escape.twins"], cwd=dev.ROOT, timeout=SCENE_S * patience, check=False,
        input=json.dumps({"driver": driver, "who": who, "patience": patience}), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{driver} as {who}: {done.stderr[-3000:]}")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def play(driver: str, who: str, patience: float) -> dict[str, str]:
    """All of them, in one sandbox."""
    chosen = {name: job for name, job in JOBS.items() if DRIVERS[driver].has_network or not job.needs_network}
    with open_scene(who, patience) as scene:
        authority = scene.world.read_only / "ca.pem"
        authority.write_text(scene.certificate)
        authority.chmod(0o644)
        modules = _copied_modules(scene.base / "modules")
        places = {job.program: _visible(scene, job.program) for job in chosen.values()}
        absent = {
            name: f"{ABSENT}{job.program} is not on this machine"
            for name, job in chosen.items()
            if places[job.program] is None
        }
        if not (modules / "httpx2").exists():
            absent |= {name: f"{ABSENT}httpx is not installed" for name in chosen if name.startswith("httpx")}
        jobs = {
            name: _as_sent(
                scene, job, str(places[job.program]), {"{ca}": str(authority), "{modules}": str(modules)}
            )
            for name, job in chosen.items()
            if name not in absent
        }
        extra = [str(modules)] + [
            str(place) for place in places.values() if place is not None and not place.is_relative_to("/usr")
        ]
        shown = scene.run_driver(
            driver,
            (scene.inner_python, "-I", "-c", BOOT),
            payload({"jobs": jobs, "patience": patience}, main="work"),
            read_only=extra,
        )
    if not shown["out"]:
        raise RuntimeError(f"nothing was printed: {shown}")
    return {**json.loads(shown["out"]), **absent}


def _visible(scene: Scene, program: str) -> Path | None:
    """Where the scene's user can read it: what lies in a closed home is shown in the scene's own folder."""
    place = where_is(program)
    if place is None or place.is_relative_to("/usr") or place.is_relative_to("/bin"):
        return place
    shown = scene.base / "tools" / program
    shown.parent.mkdir(exist_ok=True)
    shutil.copy(place, shown)
    return shown


def _copied_modules(folder: Path) -> Path:
    """What httpx is made of, for the interpreter inside, which has none of it."""
    folder.mkdir()
    installed = Path(sysconfig.get_path("purelib"))
    for name in HTTPX_MODULES:
        for source in (installed / name, *installed.glob(f"{name}-*.dist-info")):
            if source.is_dir():
                shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        if (installed / f"{name}.py").exists():
            shutil.copy(installed / f"{name}.py", folder)
    return folder


def _as_sent(scene: Scene, job: Job, program: str, words: Mapping[str, str]) -> dict[str, Any]:
    def filled(text: str) -> str:
        for mark, word in words.items():
            text = text.replace(mark, word)
        return text

    return {
        **asdict(job), "argv": [program, *map(filled, job.arguments)], "cwd": str(scene.world.writable),
        "environment": {name: filled(value) for name, value in job.environment.items()},
    }  # fmt: skip


def main() -> None:
    """One request, one answer."""
    request = json.load(sys.stdin)
    sys.stdout.write(json.dumps(play(request["driver"], request["who"], request["patience"])) + "\n")


if __name__ == "__main__":
    assert os.geteuid() == 0, "the stage needs root"
    main()
