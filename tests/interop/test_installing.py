"""A registry that cannot be reached is told from a set that cannot be had, so that only the first is a reason to skip."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from tests.interop.installing import InstallFailed, Unreachable, install, version_of
from tests.ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both package managers are sent to a port where nobody listens."""
    address = f"http://127.0.0.1:{free_port()}/"
    for name, value in {"PIP_INDEX_URL": address, "PIP_RETRIES": "1", "npm_config_registry": address}.items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("npm_config_fetch_retries", "0")


def test_python_packages_without_a_registry_are_unreachable(nowhere: None, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text(f"sekisho-no-such-package==1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(Unreachable):
        install("none", tmp_path, tmp_path / "cache")


def test_npm_packages_without_a_registry_are_unreachable(nowhere: None, tmp_path: Path) -> None:
    project = tmp_path / "none"
    project.mkdir()
    (project / "package.json").write_text('{"name":"x","dependencies":{"sekisho-no-such-package":"1.0.0"}}')
    (project / "package-lock.json").write_text(
        '{"name":"x","lockfileVersion":3,"requires":true,"packages":{"":{"name":"x","dependencies":'
        '{"sekisho-no-such-package":"1.0.0"}},"node_modules/sekisho-no-such-package":{"version":"1.0.0",'
        f'"integrity":"sha512-{"A" * 86}=="}}}}}}'
    )
    with pytest.raises(Unreachable):
        install("none", tmp_path, tmp_path / "cache")


def test_a_package_with_another_hash_than_pinned_is_a_failure(tmp_path: Path) -> None:
    wheel = tmp_path / "pinned-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pinned-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: pinned\nVersion: 1\n")
        archive.writestr("pinned-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    (tmp_path / "changed.txt").write_text(f"pinned @ {wheel.as_uri()} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(InstallFailed, match=r"(?i)hash"):
        install("changed", tmp_path, tmp_path / "cache")


def test_the_versions_are_those_of_the_pins() -> None:
    assert version_of("npm:mcp-remote").count(".") == 2
    assert version_of("pypi:fastmcp").count(".") == 2
    with pytest.raises(KeyError):
        version_of("npm:nothing")
