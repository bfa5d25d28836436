"""Hosts and ports are opened one by one, those of this machine too."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sekisho.config import CoreConfig, NetworkPolicy
from sekisho.errors import Misconfigured


def test_nothing_is_reached_unless_it_is_listed() -> None:
    policy = NetworkPolicy()
    assert (policy.allowed_domains, policy.allow_localhost, policy.mode) == ((), False, "enforce")


def test_localhost_without_ports_is_refused(core: Callable[[str], CoreConfig]) -> None:
    text = '[[plugins.servers]]\nname = "a"\ncommand = ["x"]\n[plugins.servers.network_policy]\nallow_localhost = true\n'
    with pytest.raises(Misconfigured, match=r":5: .*allow_localhost: opens no port"):
        core(text)
