#!/usr/bin/env python3
"""demo | test | check | bench | fuzz: everything a newcomer or CI does with this project.

Needs only a Python of `PYTHONS`, and works with the one it is started by (`python3.13 dev.py test`); builds `.venv` for
itself, anew for another Python. System packages that the walls and the demo need are installed when we are root, else the
exact command is printed. Arguments after the word go to the tool behind it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CACHE = ROOT / ".cache"
DEMO = ROOT / "demo"
FUZZ = ROOT / "fuzz"
SUITE = ROOT / "tests" / "conformance" / "suite"
DENO = "deno==2.9.8"
PYTHONS = ((3, 11), (3, 12), (3, 13))  # that are promised; newer ones are not refused
# What a compiled module promises is tested as such, too.
COMPILED_TESTS = [
    f"tests/unit/{room}"
    for room in (
        "audit",
        "cli",
        "detect",
        "gateway",
        "keys",
        "launcher",
        "plugin_server",
        "policy",
        "protocol",
        "registry",
        "telemetry",
        "wire",
    )
]
MIN_NODE = 22  # what the conformance suite asks for

# program it is found by → Debian package
SYSTEM = {"bwrap": "bubblewrap", "git": "git", "npm": "npm"}
PIP = "python3-pip"
DOCKER = "/usr/sbin/dockerd"
# A file that single tests need → Debian packages; without them those tests are skipped, with the reason. micro-httpd and
# php-cgi answer WordPress' wish for a web server and PHP, and start nothing.
FOR_TESTS = {
    "/usr/bin/podman": ("podman", "runc"),
    "/usr/bin/newuidmap": ("uidmap",),
    DOCKER: ("docker.io",),
    "/usr/bin/runsc": ("runsc",),
    "/usr/bin/sqlite3": ("sqlite3",),
    "/usr/bin/curl": ("curl",),
    "/usr/share/wordpress/wp-settings.php": ("wordpress", "micro-httpd", "php", "php-cgi", "php-mysql"),
    "/usr/bin/php": ("php-cli",),
    "/usr/sbin/mariadbd": ("mariadb-server-core",),
    "/bin/ip": ("iproute2",),
    "/usr/bin/openssl": ("openssl",),
    "/usr/share/doc/libseccomp2": ("libseccomp2",),
}


def main(arguments: Sequence[str]) -> int:
    """Run one of the words; returns its exit status."""
    words = {"demo": demo, "test": test, "check": check, "bench": bench, "fuzz": fuzz}
    if not arguments or arguments[0] not in words:
        print("usage: python3 dev.py demo | test | check | bench | fuzz [arguments]", file=sys.stderr)
        return 2
    if sys.version_info[:2] < PYTHONS[0]:
        oldest, newest = (".".join(str(part) for part in one) for one in (PYTHONS[0], PYTHONS[-1]))
        sys.exit(
            f"Python {oldest} to {newest} is needed, and this is {sys.version.split()[0]}: start me by another"
        )
    return words[arguments[0]](list(arguments[1:]))


def demo(rest: list[str]) -> int:
    """Two real servers and a hostile one behind a real gateway; exit 0 only if every step really happened."""
    prepare("dev")
    return run([PYTHON, DEMO / "main.py", *rest])


def test(rest: list[str]) -> int:
    """Everything that can run on this machine; what cannot is listed with its reason.

    All there is, as it stands in the source; meanwhile Sekisho is installed as its users do, and then the rooms of the
    compiled modules are tested as they are installed, unless something else is asked for.
    """
    prepare("dev")
    install_for_tests()
    install_conformance_suite()
    # two processes more than processors: much of a test of real processes is waiting for them; see tests/spreading.py
    pytest = ["-m", "pytest", "-n", str((os.cpu_count() or 1) + 2), "--dist", "loadscope"]
    if rest:
        return run([PYTHON, *pytest, *rest])
    with ThreadPoolExecutor(1) as beside:
        installed = beside.submit(install_as_users_do)
        status = run([PYTHON, *pytest])
    return run([installed.result(), *pytest, *COMPILED_TESTS]) or status


def check(_rest: list[str]) -> int:
    """Format, lint, types and floors; all are run, so that one round shows everything."""
    install("dev")
    bin_ = VENV / "bin"
    steps: tuple[list[str | Path], ...] = (
        [bin_ / "ruff", "format", "--check", "."],
        [bin_ / "ruff", "check", "."],
        [bin_ / "mypy"],
        [bin_ / "lint-imports"],
    )
    failed = [step for step in steps if run(step) != 0]
    for step in failed:
        print("failed:", " ".join(str(word) for word in step), file=sys.stderr)
    return 1 if failed else 0


def bench(rest: list[str]) -> int:
    """What a call costs, beside a direct call and other proxies, in one run; peers are installed when first met."""
    return run([install_as_users_do(), "-m", "bench.main", *rest])


def fuzz(rest: list[str]) -> int:
    """Every reader of strangers' bytes under the fuzzer, for `--seconds` each; exit 1 when a property broke."""
    return run([install_fuzzer(), "-m", "fuzz.main", *rest])


def prepare(extras: str) -> None:
    """All that demo and tests need: system packages, our environment, the two real servers."""
    install_system()
    install(extras)
    install_git_server()
    install_filesystem_server()
    install_node()
    install_deno()


def install_system() -> None:
    """Debian packages, by the programs they bring."""
    missing = {package for program, package in SYSTEM.items() if shutil.which(program) is None}
    if not has_pip():
        missing.add(PIP)  # one question to the person instead of two
    apt_install(sorted(missing))


def apt_install(missing: list[str]) -> None:
    """What nothing goes without; where we may not install it, the command that does."""
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"these are missing: {', '.join(missing)}. Install them first: sudo {' '.join(command)}")
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    say(f"installing {', '.join(missing)}")
    subprocess.run(["apt-get", "update", "--quiet=2"], check=True, env=quiet)
    subprocess.run([*command, "--quiet=2"], check=True, env=quiet, stdout=subprocess.DEVNULL)


def install_for_tests() -> None:
    """What single tests need. A machine without it runs the others."""
    wanted = {file: names for file, names in FOR_TESTS.items() if not Path(file).exists()}
    if Path("/run/systemd/system").exists():
        wanted.pop(DOCKER, None)  # its package would start a service; the tests start their own, and end it
    apt_install_if_possible(sorted({name for names in wanted.values() for name in names}))
    if Path(DOCKER).exists() and shutil.which("docker") is None:
        apt_install_if_possible(["docker-cli"])  # a package of its own since Debian 13, and none before


def apt_install_if_possible(missing: list[str]) -> None:
    """What single tests go without; where we may not install it, the command that does."""
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say(f"some tests will be skipped; they need: sudo {' '.join(command)}")
        return
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    say(f"installing {', '.join(missing)} for single tests")
    subprocess.run(["apt-get", "update", "--quiet=2"], check=False, env=quiet)
    subprocess.run([*command, "--quiet=2"], check=False, env=quiet, stdout=subprocess.DEVNULL)


def install(extras: str) -> None:
    """Our own environment, made anew when the dependencies change."""
    stamp = digest(ROOT / "pyproject.toml", extras)
    if once(VENV, stamp):
        return
    say("building .venv")
    make_venv(VENV)
    pip(PYTHON, "--editable", f"{ROOT}[{extras}]")
    done(VENV, stamp)


def install_as_users_do() -> Path:
    """Sekisho in an environment of its own, compiled where that can be done; returns its Python."""
    folder = CACHE / "installed"
    files = [*sorted((ROOT / "src").rglob("*.py")), ROOT / "hatch_build.py"]
    source = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    stamp = digest(ROOT / "pyproject.toml", source)
    python = folder / "bin" / "python"
    if not once(folder, stamp):
        say("installing sekisho as its users do, which compiles it: some minutes")
        make_venv(folder)
        pip(python, f"{ROOT}[dev]")
        told = subprocess.run(
            [folder / "bin" / "sekisho", "version", "--json"], capture_output=True, check=True
        )
        if b'"compiled"' not in told.stdout:
            has_headers = Path(sysconfig.get_path("include"), "Python.h").exists()
            if has_headers and shutil.which("cc") is not None:
                sys.exit("the modules of sekisho could be compiled here, and were not: see pip install -v .")
            say("no C compiler, or no Python.h (gcc, python3-dev): the compiled modules are not looked at")
        done(folder, stamp)
    return python


def install_git_server() -> None:
    """mcp-server-git with its whole dependency tree, every file checked against its recorded hash."""
    requirements = DEMO / "git-requirements.txt"
    folder, stamp = CACHE / "demo" / "git", digest(requirements, "")
    if once(folder, stamp):
        return
    say("installing mcp-server-git, hash-locked")
    make_venv(folder)
    pip(
        folder / "bin" / "python",
        "--require-hashes",
        "--only-binary=:all:",
        "--requirement",
        str(requirements),
    )
    done(folder, stamp)


def install_fuzzer() -> Path:
    """atheris in an environment of its own, with us beside it; returns its Python."""
    requirements = FUZZ / "requirements.txt"
    folder = CACHE / "fuzz"
    stamp = digest(requirements, digest(ROOT / "pyproject.toml", ""))
    python = folder / "bin" / "python"
    if not once(folder, stamp):
        say("installing atheris")
        make_venv(folder)
        pip(python, "--requirement", str(requirements), "--editable", str(ROOT))
        done(folder, stamp)
    return python


def install_filesystem_server() -> None:
    """@modelcontextprotocol/server-filesystem, from its lock file; no install script runs."""
    npm_ci("filesystem", "installing @modelcontextprotocol/server-filesystem, hash-locked")


def install_conformance_suite() -> Path:
    """The official conformance suite, from its lock file; returns its folder."""
    npm_ci("conformance", "installing the conformance suite, hash-locked", SUITE)
    return CACHE / "demo" / "conformance"


def install_node() -> None:
    """A Node.js of our own where the system's is missing or old."""
    if node_major() < MIN_NODE:
        npm_ci("node", "installing node 22")


def install_deno() -> None:
    """The binary of the extra sekisho[deno], outside our own environment: most installations have none."""
    folder, stamp = CACHE / "deno", DENO + sys.version
    if once(folder, stamp):
        return
    say(f"installing {DENO}")
    make_venv(folder)
    pip(folder / "bin" / "python", "--only-binary=:all:", "--no-deps", DENO)
    done(folder, stamp)


def node_major() -> int:
    """The major version of the system's Node.js, 0 when there is none."""
    if shutil.which("node") is None:
        return 0
    shown = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    return int(shown.strip().lstrip("v").partition(".")[0] or 0)


def npm_ci(name: str, what: str, locked: Path | None = None) -> None:
    """Install one locked npm project, of the demo unless another is given, into the cache."""
    source = locked or DEMO / name
    folder, stamp = CACHE / "demo" / name, digest(source / "package-lock.json", "")
    if once(folder, stamp):
        return
    say(what)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    done(folder, stamp)


def make_venv(folder: Path) -> None:
    """An empty environment; without pip, because Debian's Python cannot put one in."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)


def pip(python: Path, *arguments: str) -> None:
    """Install with our own pip into another environment."""
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    command = [pip_python(), "-m", "pip", "--python", python, "install", *quiet, *arguments]
    subprocess.run([str(word) for word in command], check=True)


@cache
def pip_python() -> Path:
    """A Python that has pip: the one we run on, else one in an environment of its own, else with Debian's package."""
    if find_spec("pip") is None and has_pip():
        folder = CACHE / "pip"
        if not once(folder, sys.version):
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            done(folder, sys.version)
        return folder / "bin" / "python"
    if not has_pip():
        apt_install([PIP])
    return Path(sys.executable)


def has_pip() -> bool:
    """Whether this Python has pip, or could make one; Debian's comes without both."""
    return find_spec("pip") is not None or find_spec("ensurepip") is not None


def once(folder: Path, stamp: str) -> bool:
    """True when this was done before, to the end."""
    mark = folder / ".sekisho-stamp"
    return mark.exists() and mark.read_text() == stamp


def done(folder: Path, stamp: str) -> None:
    """Remember that this was done to the end."""
    (folder / ".sekisho-stamp").write_text(stamp)


def digest(path: Path, extra: str) -> str:
    """What an installation depends on."""
    return hashlib.sha256(path.read_bytes() + extra.encode() + sys.version.encode()).hexdigest()


def run(command: Sequence[str | Path]) -> int:
    """Run one tool in the project's folder."""
    return subprocess.run([str(word) for word in command], cwd=ROOT, check=False).returncode


def say(text: str) -> None:
    """Tell the person what takes so long."""
    print(f"· {text} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
