"""A plugin is told about its walls what it can see for itself."""

from __future__ import annotations

from dataclasses import replace

from sekisho.assembly.telling import told
from sekisho.config import Workload
from sekisho.plugin import SANDBOX_VARIABLE, SandboxConfig
from sekisho.policy.grants import FileGrant, Grants, LimitGrant, NetworkGrant

WORKLOAD = Workload(
    name="files",
    command=("/bin/true",),
    upstream=None,
    working_directory=None,
    runtime_paths=(),
    settings=(),
    grants=Grants(
        network=NetworkGrant(allowed_domains=("api.example.com",)),
        files=FileGrant(
            read_only_paths=("/srv/notes", "/opt/deep/inside"),
            writable_paths=("/srv/cache",),
            blocked_paths=("/", "/etc", "/srv/notes/private", "/opt/deep", "/srv/notes2"),
        ),
        limits=LimitGrant(max_memory_mb=99, execution_timeout_s=1.5),
    ),
    isolation="strict",
)


def test_what_is_told_is_what_the_walls_are_made_of() -> None:
    config = SandboxConfig.from_environment(told(WORKLOAD))
    assert config.isolation == "strict"
    assert (config.max_memory_mb, config.execution_timeout_s) == (99, 1.5)
    assert config.allowed_domains == ("api.example.com",)
    assert config.read_only_paths == ("/srv/notes", "/opt/deep/inside")
    assert config.writable_paths == ("/srv/cache",)


def test_a_blocked_path_is_named_only_where_the_plugin_could_look_for_it() -> None:
    assert SandboxConfig.from_environment(told(WORKLOAD)).blocked_paths == ("/srv/notes/private",)


def test_a_plugin_without_walls_is_told_so() -> None:
    words = told(replace(WORKLOAD, isolation="unsafe-none"))
    assert not SandboxConfig.from_environment(words).has_walls
    assert SANDBOX_VARIABLE in words
