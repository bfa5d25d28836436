"""What is run or reached as one plugin, stated alike in both files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sekisho.config import CoreConfig, PluginConfig, PluginEntry, PluginServer
from sekisho.config.field import settings_of
from sekisho.config.program import Program, module_name
from sekisho.errors import Misconfigured

Core = Callable[[str], CoreConfig]
Plugin = Callable[[str], PluginConfig]


def test_both_files_state_a_program_with_the_same_keys() -> None:
    keys = {one.name for one, _, _ in settings_of(Program)}
    for table in (PluginEntry, PluginServer):
        assert keys <= {one.name for one, _, _ in settings_of(table)}


@pytest.mark.parametrize("name", ["mcp.", "1st", "a-b", "a b", ""])
def test_a_module_is_named_as_import_names_it(name: str) -> None:
    assert module_name().read("mcp.server", Path("/")) == "mcp.server"
    with pytest.raises(Misconfigured):
        module_name().read(name, Path("/"))


def test_a_command_and_an_upstream_exclude_each_other(plugin: Plugin) -> None:
    with pytest.raises(Misconfigured, match=r":4: plugin_server\.upstream"):
        plugin('[plugin_server]\nname = "a"\ncommand = ["x"]\nupstream = "http://127.0.0.1:1/mcp"\n')


def test_a_plugin_server_knows_whether_clients_share_its_plugin(plugin: Plugin) -> None:
    text = '[plugin_server]\nname = "a"\n'
    assert plugin(text).workload.instances == "shared"
    own = plugin(text + 'instances = "client"\nmax_instances = 2\ninstance_idle_seconds = 1.5\n').workload
    assert (own.instances, own.max_instances, own.instance_idle_s) == ("client", 2, 1.5)
    for wrong in ('instances = "each"', "max_instances = 0", "instance_idle_seconds = 0"):
        with pytest.raises(Misconfigured):
            plugin(text + wrong + "\n")


def test_a_plugin_server_knows_what_its_plugin_may_ask_of_clients(plugin: Plugin) -> None:
    text = '[plugin_server]\nname = "a"\n'
    assert plugin(text).workload.client_requests == ("elicitation",)
    assert plugin(text + "client_requests = []\n").workload.client_requests == ()
    with pytest.raises(Misconfigured, match="elicitation"):
        plugin(text + 'client_requests = ["tools"]\n')


def test_clients_share_a_plugin_unless_told_otherwise(core: Core) -> None:
    text = '[[plugins.servers]]\nname = "a"\ncommand = ["x"]\n'
    entry = core(text).plugin("a")
    assert (entry.instances, entry.workload.instances, entry.workload.gates) == ("shared", "shared", 0)
    own = core(text + 'instances = "session"\nmax_instances = 3\ninstance_idle_seconds = 9\n').plugin("a")
    assert (own.instances, own.workload.instances, own.workload.gates) == ("session", "session", 3)
    assert own.workload.instance_idle_s == 9


def test_no_trace_context_is_carried_unless_it_is_named(core: Core, plugin: Plugin) -> None:
    text = '[[plugins.servers]]\nname = "a"\ncommand = ["x"]\n'
    entry = core(text).plugin("a")
    assert entry.trace_context == entry.workload.trace_context == ()
    named = core(text + 'trace_context = ["traceparent", "tracestate"]\n').plugin("a")
    assert named.trace_context == named.workload.trace_context == ("traceparent", "tracestate")
    assert plugin('[plugin_server]\nname = "a"\ntrace_context = ["baggage"]\n').workload.trace_context == (
        "baggage",
    )
    for wrong in ('["cookie"]', '"baggage"', '["tracestate"]', '["tracestate", "baggage"]'):
        with pytest.raises(Misconfigured, match="trace_context"):
            core(text + f"trace_context = {wrong}\n")
