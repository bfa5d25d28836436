"""A registry is reached by name, over TLS, and nothing else is reached."""

from __future__ import annotations

import pytest

from sekisho.errors import Misconfigured
from sekisho.install.settings import InstallSettings, check_registry
from sekisho.policy import permits


def test_a_package_of_pypi_may_reach_the_index_and_its_files_and_nothing_else() -> None:
    grant = InstallSettings().grant("pypi")
    assert permits(grant, "pypi.org", 443)
    assert permits(grant, "files.pythonhosted.org", 443)
    for host, port in (
        ("registry.npmjs.org", 443),
        ("pypi.org", 80),
        ("evil.pypi.org", 443),
        ("localhost", 443),
    ):
        assert not permits(grant, host, port)


def test_a_package_of_npm_may_reach_the_registry_and_nothing_else() -> None:
    grant = InstallSettings().grant("npm")
    assert permits(grant, "registry.npmjs.org", 443)
    assert not permits(grant, "pypi.org", 443)


def test_another_registry_replaces_the_public_one() -> None:
    settings = InstallSettings(
        pypi_index="https://packages.example.com:8443/simple/", hosts=("files.example.com",)
    )
    grant = settings.grant("pypi")
    assert settings.registry("pypi") == "https://packages.example.com:8443/simple"
    assert permits(grant, "packages.example.com", 8443)
    assert permits(grant, "files.example.com", 443)
    assert not permits(grant, "pypi.org", 443)


@pytest.mark.parametrize(
    "url",
    [
        "http://registry.example.com",
        "ftp://registry.example.com",
        "https://user:pw@registry.example.com",
        "https://10.0.0.1/simple",
        "https://[::1]/simple",
        "https://registry.example.com/?x=1",
        "https://registry.example.com:0",
        "https://",
        "registry.example.com",
    ],
)
def test_a_registry_that_others_could_answer_for_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        check_registry(url)


def test_a_registry_on_this_machine_needs_the_operators_word() -> None:
    with pytest.raises(Misconfigured, match="this machine"):
        InstallSettings(npm_registry="http://localhost:4873")
    grant = InstallSettings(npm_registry="http://localhost:4873", allow_private_registry=True).grant("npm")
    assert permits(grant, "localhost", 4873)
    assert not permits(grant, "localhost", 4874)
