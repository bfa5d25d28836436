"""Packages from a registry that lies, and two honest ones from the real registries through a real house."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.real.registry import Registry, registry, sdist, tarball, wheel

from sekisho.errors import Refused, SekishoError, Tampered, Unavailable
from sekisho.install.installer import Installed, Installer, Tools
from sekisho.install.package import read_package
from sekisho.install.settings import InstallSettings
from sekisho.install.store import Store
from sekisho.sandbox import Bubblewrap

pytestmark = pytest.mark.real

needs_npm: Final = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
PLANTED: Final = "planted-by-a-package"


@pytest.fixture
def liar() -> Iterator[Registry]:
    with registry() as held:
        yield held


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "packages")


@pytest.fixture
async def driver() -> AsyncIterator[Bubblewrap]:
    async with Bubblewrap() as driver:
        yield driver


def _installer(
    driver: Bubblewrap, store: Store, liar: Registry, *, max_tree_mb: int = 100, max_files: int = 10_000
) -> Installer:
    return Installer(
        driver=driver,
        store=store,
        settings=InstallSettings(
            pypi_index=f"{liar.url}/simple",
            npm_registry=f"{liar.url}/npm",
            allow_private_registry=True,
            max_tree_mb=max_tree_mb,
            max_files=max_files,
        ),
        tools=Tools(python=sys.executable, runtime="test", search_path=os.environ.get("PATH"), ca_path=None),
    )


@pytest.fixture
def installer(driver: Bubblewrap, store: Store, liar: Registry) -> Installer:
    return _installer(driver, store, liar)


async def _install(
    installer: Installer, package: str, *, is_fresh: bool = False, is_name_accepted: bool = False
) -> Installed:
    return await installer.install(
        "tool", read_package(package), is_fresh=is_fresh, is_name_accepted=is_name_accepted
    )


def _planted(tmp_path: Path) -> list[Path]:
    """Everything that a package's own code, or an archive that breaks out, would have left anywhere near."""
    return [*tmp_path.rglob(f"*{PLANTED}*"), *Path("/tmp").glob(f"{PLANTED}*")]


@pytest.mark.threat("T-PACKAGE")
async def test_an_honest_wheel_is_installed_with_what_it_needs(installer: Installer, liar: Registry) -> None:
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}, needs="part==2"), project="tool")
    liar.add_python("part-2-py3-none-any.whl", wheel("part", "2", {}), project="part")
    done = await _install(installer, "pypi:tool==1.0")
    assert done.is_new
    assert done.kept.receipt.packages == 2
    assert (done.kept.tree / "site" / "part.py").exists()
    assert list(done.kept.tree.rglob("*.pyc"))
    assert b"tool==1.0 --hash=sha256:" in done.kept.lock


@needs_npm
async def test_an_honest_tarball_is_installed_with_what_it_needs(
    installer: Installer, liar: Registry
) -> None:
    needs = {"dependencies": {"part": "^2.0.0"}}
    liar.add_npm("tool", "1.0.0", tarball("tool", "1.0.0", {}, **needs), told=needs)
    liar.add_npm("part", "2.3.4", tarball("part", "2.3.4", {}))
    done = await _install(installer, "npm:tool@1.0.0")
    assert done.kept.receipt.packages == 2
    assert (done.kept.tree / "node_modules" / "part" / "cli.js").exists()


@pytest.mark.requirement("B3")
async def test_the_same_lock_gives_the_same_tree_without_a_registry(
    installer: Installer, store: Store, liar: Registry
) -> None:
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}), project="tool")
    first = await _install(installer, "pypi:tool==1.0")
    liar.asked.clear()
    again = await _install(installer, "pypi:tool==1.0")
    assert (again.is_new, again.kept.digest) == (False, first.kept.digest)
    (first.kept.tree / "site" / "tool.py").chmod(0o644)
    (first.kept.tree / "site" / "tool.py").write_bytes(b"evil()")
    with pytest.raises(Tampered):
        store.prove(first.kept)
    mended = await _install(installer, "pypi:tool==1.0")
    assert (mended.is_new, mended.kept.digest) == (True, first.kept.digest)
    store.prove(mended.kept, wholly=True)
    assert not liar.asked


@needs_npm
async def test_the_same_npm_lock_gives_the_same_tree_without_a_registry(
    installer: Installer, store: Store, liar: Registry
) -> None:
    liar.add_npm("tool", "1.0.0", tarball("tool", "1.0.0", {}))
    first = await _install(installer, "npm:tool@1.0.0")
    liar.asked.clear()
    (first.kept.tree / "node_modules" / "tool" / "cli.js").chmod(0o555)
    (first.kept.tree / "node_modules").chmod(0o755)
    (first.kept.tree / "node_modules" / "added").touch()
    mended = await _install(installer, "npm:tool@1.0.0")
    assert (mended.is_new, mended.kept.digest) == (True, first.kept.digest)
    assert not liar.asked


async def test_a_lock_is_kept_until_somebody_asks_for_newer_dependencies(
    installer: Installer, liar: Registry
) -> None:
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}, needs="part"), project="tool")
    liar.add_python("part-1-py3-none-any.whl", wheel("part", "1", {}), project="part")
    first = await _install(installer, "pypi:tool==1.0")
    liar.add_python("part-2-py3-none-any.whl", wheel("part", "2", {}), project="part")
    assert (await _install(installer, "pypi:tool==1.0")).kept.digest == first.kept.digest
    fresh = await _install(installer, "pypi:tool==1.0", is_fresh=True)
    assert b"part==2" in fresh.kept.lock


@pytest.mark.threat("T-PACKAGE")
async def test_a_source_archive_is_never_built(installer: Installer, liar: Registry, tmp_path: Path) -> None:
    setup = f"open('/tmp/{PLANTED}', 'w')\nfrom setuptools import setup\nsetup(name='tool', version='1.0')\n"
    liar.add_python("tool-1.0.tar.gz", sdist("tool", "1.0", setup), project="tool")
    with pytest.raises(Refused):
        await _install(installer, "pypi:tool==1.0")
    assert "/files/tool-1.0.tar.gz" not in liar.asked
    assert not _planted(tmp_path)


@pytest.mark.threat("T-PACKAGE")
@needs_npm
async def test_no_lifecycle_script_runs(installer: Installer, liar: Registry, tmp_path: Path) -> None:
    plant = f"node -e \"require('fs').writeFileSync('{PLANTED}', '')\""
    scripts = {"scripts": dict.fromkeys(("preinstall", "install", "postinstall", "prepare"), plant)}
    content = tarball("tool", "1.0.0", {"package/binding.gyp": b"{}"}, **scripts)
    liar.add_npm("tool", "1.0.0", content, told={**scripts, "hasInstallScript": True})
    done = await _install(installer, "npm:tool@1.0.0")
    assert not _planted(tmp_path)
    assert not (done.kept.tree / "node_modules" / "tool" / "build").exists()


@pytest.mark.threat("T-PACKAGE")
@pytest.mark.parametrize(
    "path",
    [
        f"../../{PLANTED}",
        f"/tmp/{PLANTED}",
        f"tool-1.0.data/data/../../../../{PLANTED}",
        f"tool-1.0.data/scripts/../../../../../{PLANTED}",
    ],
)
async def test_a_wheel_that_writes_elsewhere_is_refused(
    installer: Installer, store: Store, liar: Registry, tmp_path: Path, path: str
) -> None:
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {path: b"x"}), project="tool")
    with pytest.raises(Refused):
        await _install(installer, "pypi:tool==1.0")
    assert not _planted(tmp_path)
    assert store.active("tool") is None


async def test_a_link_in_a_wheel_is_no_link_in_the_tree(installer: Installer, liar: Registry) -> None:
    liar.add_python(
        "tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {"link": b"-> /etc/passwd"}), project="tool"
    )
    done = await _install(installer, "pypi:tool==1.0")
    assert not (done.kept.tree / "site" / "link").is_symlink()
    assert (done.kept.tree / "site" / "link").read_bytes() == b"/etc/passwd"


@pytest.mark.threat("T-PACKAGE")
async def test_bytecode_that_a_wheel_brings_along_is_made_anew_from_its_source(
    installer: Installer, liar: Registry
) -> None:
    cached = f"__pycache__/tool.{sys.implementation.cache_tag}.pyc"
    orphan = f"__pycache__/broken.{sys.implementation.cache_tag}.pyc"
    files = {cached: b"hidden", orphan: b"hidden", "broken.py": b"no python at all\n"}
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", files), project="tool")
    site = (await _install(installer, "pypi:tool==1.0")).kept.tree / "site"
    assert b"hidden" not in (site / cached).read_bytes()
    assert not (site / orphan).exists()


@needs_npm
@pytest.mark.parametrize(
    "files",
    [
        {f"package/../../../{PLANTED}": b"x"},
        {f"/tmp/{PLANTED}": b"x"},
        {"package/link": b"-> /tmp", f"package/link/{PLANTED}": b"x"},
        {"package/link": b"-> ../../../..", f"package/link/{PLANTED}": b"x"},
        {"package/setuid": b"x"},
    ],
)
async def test_a_tarball_that_breaks_out_leaves_nothing_outside_and_no_odd_file(
    installer: Installer, store: Store, liar: Registry, tmp_path: Path, files: dict[str, bytes]
) -> None:
    liar.add_npm("tool", "1.0.0", tarball("tool", "1.0.0", files))
    try:
        kept = (await _install(installer, "npm:tool@1.0.0")).kept
    except Refused:
        assert store.active("tool") is None
        assert not _planted(tmp_path)
        return
    outside = [path for path in _planted(tmp_path) if not path.is_relative_to(kept.folder)]
    assert outside == [path for path in outside if path.is_relative_to(store.folder / "files")]
    for path in kept.tree.rglob("*"):
        assert path.resolve().is_relative_to(kept.tree)
        assert not path.lstat().st_mode & 0o7000


@pytest.mark.requirement("B1")
async def test_a_wheel_that_is_not_what_its_hash_says_is_refused(
    installer: Installer, store: Store, liar: Registry
) -> None:
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}), project="tool", sha256="0" * 64)
    with pytest.raises(Refused, match=r"(?i)hash"):
        await _install(installer, "pypi:tool==1.0")
    assert store.active("tool") is None


@needs_npm
@pytest.mark.parametrize(
    "integrity", ["sha512-" + "A" * 86 + "==", "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=", None]
)
async def test_a_tarball_that_is_not_what_its_digest_says_or_has_none_is_refused(
    installer: Installer, store: Store, liar: Registry, integrity: str | None
) -> None:
    liar.add_npm("tool", "1.0.0", tarball("tool", "1.0.0", {}), integrity=integrity)
    with pytest.raises(Refused):
        await _install(installer, "npm:tool@1.0.0")
    assert store.active("tool") is None


@pytest.mark.requirement("B1")
@pytest.mark.threat("T-PACKAGE")
async def test_a_file_that_changed_since_it_was_locked_is_refused(
    installer: Installer, store: Store, liar: Registry
) -> None:
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}), project="tool")
    first = await _install(installer, "pypi:tool==1.0")
    with store.writing():
        shutil.rmtree(store.folder / "files")
    for path in (first.kept.tree, first.kept.tree / "site"):
        path.chmod(0o755)
    (first.kept.tree / "site" / "added").touch()
    liar.files.clear()
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {"more.py": b""}), project="tool")
    with pytest.raises(Refused, match=r"(?i)hash"):
        await _install(installer, "pypi:tool==1.0")


@pytest.mark.requirement("B1")
async def test_a_registry_that_answers_another_version_is_refused(
    installer: Installer, store: Store, liar: Registry
) -> None:
    liar.add_python("tool-2.0-py3-none-any.whl", wheel("tool", "2.0", {}), project="tool")
    with pytest.raises(Refused):
        await _install(installer, "pypi:tool==1.0")
    liar.files.clear()
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}, says="2.0"), project="tool")
    with pytest.raises(Refused):
        await _install(installer, "pypi:tool==1.0")
    assert store.active("tool") is None


@pytest.mark.requirement("B1")
@needs_npm
async def test_an_npm_registry_that_answers_another_version_is_refused(
    installer: Installer, store: Store, liar: Registry
) -> None:
    liar.add_npm("tool", "2.0.0", tarball("tool", "2.0.0", {}))
    with pytest.raises(Refused):
        await _install(installer, "npm:tool@1.0.0")
    liar.add_npm("tool", "1.0.0", tarball("tool", "2.0.0", {}))
    with pytest.raises(Refused, match="says it is"):
        await _install(installer, "npm:tool@1.0.0")
    liar.add_npm("tool", "1.0.0", tarball("other", "1.0.0", {}))
    with pytest.raises(Refused, match="says it is"):
        await _install(installer, "npm:tool@1.0.0", is_fresh=True)
    assert store.active("tool") is None


@needs_npm
@pytest.mark.parametrize(
    "where",
    [
        "git+https://localhost/x.git",
        "https://localhost:1/x.tgz",
        "file:/etc",
        "github:a/b",
        "http://169.254.169.254/x.tgz",
    ],
)
async def test_a_dependency_from_elsewhere_is_refused(
    installer: Installer, store: Store, liar: Registry, where: str
) -> None:
    needs = {"dependencies": {"part": where}}
    liar.add_npm("tool", "1.0.0", tarball("tool", "1.0.0", {}, **needs), told=needs)
    with pytest.raises(Refused):
        await _install(installer, "npm:tool@1.0.0")
    assert store.active("tool") is None


async def test_a_wheel_from_elsewhere_is_not_fetched(installer: Installer, liar: Registry) -> None:
    needs = "part @ http://localhost:1/part-1-py3-none-any.whl"
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}, needs=needs), project="tool")
    with pytest.raises(Refused):
        await _install(installer, "pypi:tool==1.0")


async def test_a_page_that_leads_to_another_host_is_not_followed(
    installer: Installer, liar: Registry
) -> None:
    link = b'<a href="https://files.example.com/tool-1.0-py3-none-any.whl">tool-1.0-py3-none-any.whl</a>'
    liar.files["/simple/tool/"] = link
    with pytest.raises(Refused, match=r"files\.example\.com is not one of the registries"):
        await _install(installer, "pypi:tool==1.0")


@pytest.mark.requirement("B3")
async def test_a_package_that_is_too_large_is_refused(
    driver: Bubblewrap, store: Store, liar: Registry
) -> None:
    files = {f"part{number}.py": b"" for number in range(60)}
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", files), project="tool")
    with pytest.raises(Refused, match="larger"):
        await _install(_installer(driver, store, liar, max_files=50), "pypi:tool==1.0")
    bomb = wheel("tool", "1.0", {"zeros": bytes(8 << 20)})
    liar.files.clear()
    liar.add_python("tool-1.0-py3-none-any.whl", bomb, project="tool")
    with pytest.raises(Refused, match="larger"):
        await _install(_installer(driver, store, liar, max_tree_mb=1), "pypi:tool==1.0")
    assert store.active("tool") is None
    assert not list((store.folder / "work").iterdir())


@pytest.mark.requirement("B3")
async def test_a_failed_installation_leaves_the_package_before(
    installer: Installer, store: Store, liar: Registry
) -> None:
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}), project="tool")
    first = await _install(installer, "pypi:tool==1.0")
    with pytest.raises(SekishoError):
        await _install(installer, "pypi:tool==2.0")
    active = store.active("tool")
    assert active is not None
    assert active.current == first.kept.digest


async def test_a_registry_that_does_not_answer_is_said_to_be_unavailable(
    driver: Bubblewrap, store: Store, liar: Registry
) -> None:
    liar.url = "http://localhost:1"
    installer = _installer(driver, store, liar)
    packages = ["pypi:tool==1.0", *(["npm:tool@1.0.0"] if shutil.which("npm") else [])]
    for package in packages:
        with pytest.raises(Unavailable, match="localhost cannot be reached"):
            await _install(installer, package)


@pytest.mark.threat("T-LOOKALIKE")
async def test_a_look_alike_is_not_even_asked_for(installer: Installer, liar: Registry) -> None:
    for package in ("pypi:bubblewrap==1.2.0", "pypi:mcp-server-tlme==1.0", "npm:server-filesystem@1.0.0"):
        with pytest.raises(Refused, match="may not be what it sounds like") as caught:
            await _install(installer, package)
        assert "--accept-name" in caught.value.remedy
    assert not liar.asked
    liar.add_python(
        "bubblewrap-1.2.0-py3-none-any.whl", wheel("bubblewrap", "1.2.0", {}), project="bubblewrap"
    )
    assert (await _install(installer, "pypi:bubblewrap==1.2.0", is_name_accepted=True)).is_new


async def test_nothing_of_this_machine_is_seen_while_fetching(
    driver: Bubblewrap, store: Store, liar: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration, and so the credentials, of whoever installs is not there to be read or sent."""
    (tmp_path / ".npmrc").write_text(
        f"registry={liar.url}/other\n//localhost/:_authToken=secret\n", encoding="utf-8"
    )
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = http://localhost:1/simple\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("npm_config_registry", f"{liar.url}/other")
    liar.add_python("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", {}), project="tool")
    await _install(_installer(driver, store, liar), "pypi:tool==1.0")
    assert {path.split("/")[1] for path in liar.asked} == {"simple", "files"}


async def test_a_package_without_a_program_is_refused(
    installer: Installer, store: Store, liar: Registry
) -> None:
    content = wheel("tool", "1.0", {}, has_script=False)
    liar.add_python("tool-1.0-py3-none-any.whl", content, project="tool")
    with pytest.raises(Refused, match="library"):
        await _install(installer, "pypi:tool==1.0")
    assert store.active("tool") is None
