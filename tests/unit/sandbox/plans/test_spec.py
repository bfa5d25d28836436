"""The values of the sandbox room refuse what cannot be honoured."""

from __future__ import annotations

import pytest

from sekisho.errors import Misconfigured
from sekisho.policy.grants import Grants
from sekisho.sandbox.plans.spec import Capabilities, SandboxSpec, unavailable


def test_a_spec_without_a_command_is_refused() -> None:
    with pytest.raises(Misconfigured, match="no command"):
        SandboxSpec(name="notes", argv=(), grants=Grants())


def test_a_nul_character_is_refused_before_it_can_cut_an_argument() -> None:
    with pytest.raises(Misconfigured, match="NUL"):
        SandboxSpec(name="notes", argv=("python", "a\0b"), grants=Grants())
    with pytest.raises(Misconfigured, match="NUL"):
        SandboxSpec(name="notes", argv=("python",), grants=Grants(), environment={"KEY": "a\0--bind"})


def test_an_isolation_we_cannot_give_is_refused() -> None:
    with pytest.raises(Misconfigured, match="isolation 'none'"):
        SandboxSpec(name="notes", argv=("python",), grants=Grants(), isolation="none")


def test_relative_paths_are_refused() -> None:
    with pytest.raises(Misconfigured, match="absolute"):
        SandboxSpec(name="notes", argv=("python",), grants=Grants(), cwd="work")
    with pytest.raises(Misconfigured, match="absolute"):
        SandboxSpec(name="notes", argv=("python",), grants=Grants(), runtime_paths=("lib",))


def test_a_complete_spec_is_accepted() -> None:
    spec = SandboxSpec(name="notes", argv=("python",), grants=Grants(), cwd="/tmp", runtime_paths=("/opt/x",))
    assert spec.isolation == "strict"


def test_capabilities_enforce_only_the_controllers_they_name() -> None:
    capabilities = Capabilities(bwrap="/usr/bin/bwrap", machine="x86_64", cgroup_parents=(("pids", "/x"),))
    assert capabilities.enforces("pids")
    assert not capabilities.enforces("memory")


def test_an_unbuilt_wall_has_one_code_and_a_remedy() -> None:
    error = unavailable("no bwrap")
    assert error.code == "sandbox_unavailable"
    assert "sekisho doctor" in error.remedy
    assert unavailable("no bwrap", "install it").remedy == "install it"
