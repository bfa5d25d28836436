"""A plugin that is a package, in both files, and where packages come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.config import CoreConfig, effective, load_core, load_plugin, warnings_of
from sekisho.errors import Misconfigured
from sekisho.install import NPM_REGISTRY, PYPI_INDEX, read_package


def _core(folder: Path, plugin: str, rest: str = "") -> CoreConfig:
    path = folder / "sekisho.toml"
    path.write_text(f'{rest}\n[[plugins.servers]]\nname = "clock"\n{plugin}\n', encoding="utf-8")
    return load_core(path)


def test_a_package_runs_here_and_needs_no_command(tmp_path: Path) -> None:
    entry = _core(
        tmp_path, 'package = "pypi:mcp-server-time==1.0"\nentry = "clock"\narguments = ["-v", "-v"]'
    ).plugin("clock")
    workload = entry.workload
    assert entry.runs_here
    assert (workload.command, workload.upstream) == ((), None)
    assert workload.package == read_package("pypi:mcp-server-time==1.0")
    assert (workload.entry, workload.arguments) == ("clock", ("-v", "-v"))


def test_the_plugin_file_means_the_same(tmp_path: Path) -> None:
    path = tmp_path / "plugin.toml"
    path.write_text(
        '[plugin_server]\nname = "clock"\npackage = "npm:@a/b@1.0.0"\narguments = ["x"]\n'
        '[install]\nnpm_registry = "https://npm.example.com"\n',
        encoding="utf-8",
    )
    config = load_plugin(path)
    assert config.workload.package == read_package("npm:@a/b@1.0.0")
    assert config.workload.arguments == ("x",)
    assert config.install.settings.registry("npm") == "https://npm.example.com"


@pytest.mark.parametrize(
    ("plugin", "what"),
    [
        ('package = "npm:x"', "one exact version"),
        ('package = "npm:x@latest"', "one exact version"),
        ("package = 1", "a number"),
        ('package = "pypi:tіme==1.0"', "ASCII"),
        ('package = "npm:x@1.0.0"\ncommand = ["x"]', "stands beside command"),
        ('package = "npm:x@1.0.0"\nupstream = "https://x.example/mcp"', "stands beside upstream"),
        ('command = ["x"]\nentry = "y"', "stands without package"),
        ('command = ["x"]\narguments = ["y"]', "stands without package"),
        ('package = "npm:x@1.0.0"\nentry = "../x"', "entry"),
        ('package = "npm:x@1.0.0"\narguments = [1]', "arguments"),
        ('package = "npm:x@1.0.0"\nsandbox = { driver = "oci" }', 'sandbox.driver: is "oci"'),
        ('package = "npm:x@1.0.0"\nruntime = "wasm"', 'runtime: is "wasm", which cannot run npm:x'),
        ('package = "pypi:x==1.0"\nruntime = "deno"', 'runtime: is "deno", which cannot run pypi:x'),
        ('package = "npm:x@1.0.0"\narguments = "y"', "arguments"),
    ],
)
def test_a_package_that_cannot_be_honoured_is_refused(tmp_path: Path, plugin: str, what: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        _core(tmp_path, plugin)
    assert what in caught.value.message


def test_the_plugin_file_refuses_a_package_in_a_container_too(tmp_path: Path) -> None:
    path = tmp_path / "plugin.toml"
    words = '[plugin_server]\nname = "clock"\npackage = "npm:a@1.0.0"\n[sandbox]\ndriver = "{}"\n'
    path.write_text(words.format("oci"), encoding="utf-8")
    with pytest.raises(Misconfigured, match=r"plugin\.toml:5: sandbox\.driver: is \"oci\""):
        load_plugin(path)
    path.write_text(words.format("native"), encoding="utf-8")
    assert load_plugin(path).workload.driver == "native"


def test_packages_come_from_the_public_registries_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    install = _core(tmp_path, 'package = "npm:x@1.0.0"').install.settings
    assert (install.pypi_index, install.npm_registry) == (PYPI_INDEX, NPM_REGISTRY)
    assert not install.allow_private_registry


@pytest.mark.parametrize(
    "line",
    [
        'pypi_index = "http://packages.example.com/simple"',
        'npm_registry = "https://10.0.0.1"',
        'npm_registry = "http://localhost:4873"',
        'hosts = ["10.0.0.1"]',
        'hosts = ["*.example.com"]',
        "max_tree_mb = 0",
        "timeout_seconds = 0",
    ],
)
def test_a_source_that_cannot_be_trusted_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(Misconfigured):
        _core(tmp_path, 'package = "npm:x@1.0.0"', f"[install]\n{line}")


def test_a_private_registry_is_listed_as_a_guarantee_given_up(tmp_path: Path) -> None:
    text = '[install]\nallow_private_registry = true\nnpm_registry = "http://localhost:4873"'
    config = _core(tmp_path, 'package = "npm:x@1.0.0"', text)
    assert any(line.startswith("install.allow_private_registry") for line in warnings_of(config))
    assert effective(config)["plugins"]["servers"][0]["package"] == "npm:x@1.0.0"
