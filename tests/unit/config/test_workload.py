"""Both files end in the same workload."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sekisho.config import CoreConfig

Core = Callable[[str], CoreConfig]


def test_a_plugin_that_runs_here_carries_its_whole_workload(core: Core, tmp_path: Path) -> None:
    entry = core(
        '[[plugins.servers]]\nname = "wp-x"\ncommand = ["uvx", "wp"]\nworking_directory = "w"\nruntime_paths = ["rt"]\n'
        'settings = { url = "https://e" }\nenvironment = ["WP_TOKEN"]\n'
    ).plugin("wp-x")
    workload = entry.workload
    assert entry.runs_here
    assert workload.command == ("uvx", "wp")
    assert workload.working_directory == tmp_path / "w"
    assert workload.runtime_paths == (tmp_path / "rt",)
    assert workload.settings_environment == {"WP_URL": "https://e"}
    assert workload.grants.environment == ("WP_TOKEN",)
