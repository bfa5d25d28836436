"""A plugin sees no file unless it is listed by its whole path."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sekisho.config import FilesystemPolicy, PluginConfig
from sekisho.errors import Misconfigured

SERVER = '[plugin_server]\nname = "a"\ncommand = ["x"]\n[filesystem_policy]\n'


def test_nothing_is_seen_and_writes_stay_unless_told_otherwise() -> None:
    policy = FilesystemPolicy()
    assert (policy.read_only_paths, policy.writable_paths, policy.persist) == ((), (), "direct")


@pytest.mark.parametrize("key", ["read_only_paths", "writable_paths", "blocked_paths"])
def test_a_path_that_is_not_absolute_is_refused(plugin: Callable[[str], PluginConfig], key: str) -> None:
    assert getattr(plugin(f'{SERVER}{key} = ["/srv/in"]\n').filesystem_policy, key) == ("/srv/in",)
    with pytest.raises(Misconfigured, match=rf"filesystem_policy\.{key}: .*a list of absolute paths"):
        plugin(f'{SERVER}{key} = ["srv/in"]\n')
