"""Orders: whole, of the right types, and of one plugin only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.assembly.orders import Orders, orders_of, read_orders, write_orders
from sekisho.config import CoreConfig, PluginLimits, load_core
from sekisho.errors import Misconfigured

FILE = """
[core_server]
trust_domain = "example.org"
[limits]
max_depth = 40
[audit]
log_level = "WARNING"
[plugins]
health_check_interval_seconds = 7.5
[[plugins.servers]]
name = "walled"
allowed_operations = ["read", "write"]
command = ["server", "--verbose"]
working_directory = "/srv"
environment = ["LEVEL"]
instances = "client"
[plugins.servers.network_policy]
allowed_domains = ["api.example.com"]
intercept_tls = true
[plugins.servers.sandbox]
told_paths = "changes"
[plugins.servers.filesystem_policy]
read_only_paths = ["/usr/share"]
[plugins.servers.secrets]
TOKEN = { from = "env:GH", hosts = ["api.example.com"] }
[plugins.servers.settings]
level = "of the walled one"
[[plugins.servers]]
name = "rooted"
command = ["server"]
roots = [{ uri = "file:///srv/data", name = "data", permissions = { deno = { allow-read = true } } }]
[plugins.servers.filesystem_policy]
read_only_paths = ["/srv/data"]
[[plugins.servers]]
name = "packaged"
package = "npm:left-pad@1.3.0"
[[plugins.servers]]
name = "remote"
upstream = "https://mcp.example/mcp"
upstream_ca_path = "/etc/site.pem"
[plugins.servers.oauth]
grant = "authorization_code"
client_id = "us"
scopes = ["a"]
"""
PLUGINS = ("walled", "rooted", "packaged", "remote")


@pytest.fixture
def config(tmp_path: Path) -> CoreConfig:
    path = tmp_path / "sekisho.toml"
    path.write_text(FILE)
    return load_core(path)


@pytest.mark.parametrize("name", PLUGINS)
def test_what_is_read_is_what_was_written(config: CoreConfig, name: str) -> None:
    orders = orders_of(config, name)
    read = read_orders(write_orders(orders))
    assert read.workload == orders.workload == config.plugin(name).workload
    assert repr(read.workload) == repr(orders.workload)  # types that compare as equal are the same, too
    assert replace(read, limits=orders.limits) == orders
    assert type(read.limits) is PluginLimits
    assert all(
        getattr(read.limits, field) == getattr(config.limits, field)
        for field in PluginLimits.__dataclass_fields__
    )


def test_orders_say_what_the_file_says_of_all_plugins(config: CoreConfig) -> None:
    orders = orders_of(config, "walled")
    assert orders.operations == ("read", "write")
    assert (orders.trust_domain, orders.log_level) == ("example.org", "WARNING")
    assert (orders.health_interval_s, orders.limits.max_depth) == (7.5, 40)


@pytest.mark.threat("T-READ-CORE")
@pytest.mark.parametrize("name", PLUGINS)
def test_orders_say_nothing_of_another_plugin(config: CoreConfig, name: str) -> None:
    marks = {
        "walled": b"api.example.com",
        "rooted": b"/srv/data",
        "packaged": b"left-pad",
        "remote": b"mcp.example",
    }
    text = write_orders(orders_of(config, name))
    assert [one for one, mark in marks.items() if mark in text] == [name]


def test_a_plugin_that_is_not_configured_has_no_orders(config: CoreConfig) -> None:
    with pytest.raises(Misconfigured, match="no plugin is named other"):
        orders_of(config, "other")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_orders_are_an_error_and_never_other_orders(config: CoreConfig, data: st.DataObject) -> None:
    orders = orders_of(config, "walled")
    text = write_orders(orders)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(msgspec.DecodeError):
        read_orders(text[:cut])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("operations", "read"),
        ("workload", {"name": "x"}),
        ("limits", {"max_depth": "deep"}),
        ("log_level", 3),
    ],
)
def test_orders_of_a_wrong_type_are_an_error(config: CoreConfig, field: str, value: object) -> None:
    raw: dict[str, Any] = msgspec.json.decode(write_orders(orders_of(config, "walled")))
    with pytest.raises(msgspec.ValidationError):
        read_orders(msgspec.json.encode(raw | {field: value}))


def test_what_orders_cannot_hold_is_not_written_as_something_else(config: CoreConfig) -> None:
    orders: Orders = replace(orders_of(config, "walled"), trust_domain=object())  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="object"):
        write_orders(orders)
