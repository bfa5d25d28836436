from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.assembly.identities import (
    audit_key,
    core_id,
    core_names,
    ensure_all,
    front_id,
    front_names,
    host_only,
    plugin_id,
    renew_all,
)
from sekisho.config import BindAddress, CoreConfig, CoreServer
from sekisho.keys import KeyFolder

NOW = 1_800_000_000.0
DOMAIN = "sekisho.local"
CONFIG = CoreConfig()


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys", DOMAIN)


def test_everybody_has_a_name_of_their_own() -> None:
    names = {
        core_id(DOMAIN).uri,
        front_id(DOMAIN).uri,
        plugin_id(DOMAIN, "a").uri,
        plugin_id(DOMAIN, "b").uri,
    }
    assert len(names) == 4


def test_what_is_there_and_good_stays(keys: KeyFolder) -> None:
    ensure_all(keys, CONFIG, ["files"], NOW)
    first = keys.identity(plugin_id(DOMAIN, "files")).certificate
    ensure_all(keys, CONFIG, ["files", "web"], NOW + 1)
    assert keys.identity(plugin_id(DOMAIN, "files")).certificate == first
    assert keys.identity(plugin_id(DOMAIN, "web")).spiffe == plugin_id(DOMAIN, "web")
    assert keys.identity(core_id(DOMAIN)).spiffe == core_id(DOMAIN)


def test_only_what_lived_half_its_life_is_issued_again(keys: KeyFolder) -> None:
    ensure_all(keys, CONFIG, ["files"], NOW)
    first = keys.identity(front_id(DOMAIN)).certificate
    renew_all(keys, CONFIG, ["files"], NOW + 60)
    assert keys.identity(front_id(DOMAIN)).certificate == first
    life_s = (first.not_valid_after_utc - first.not_valid_before_utc).total_seconds()
    renew_all(keys, CONFIG, ["files"], NOW + life_s * 0.7)
    assert keys.identity(front_id(DOMAIN)).certificate.serial_number != first.serial_number


@pytest.mark.requirement("A5.1")
def test_the_core_carries_the_names_a_plugin_file_may_ask_for(keys: KeyFolder) -> None:
    named = CoreConfig(core_server=CoreServer(allowed_hosts=("mcp-core:8080", "mcp-core", "10.0.0.1:8080")))
    assert core_names(named) == ("mcp-core",)
    ensure_all(keys, named, [], NOW)
    assert keys.identity(core_id(DOMAIN)).names == (("mcp-core",), ())
    assert core_names(CONFIG) == ()


def test_the_front_carries_the_names_clients_use() -> None:
    server = CoreServer(
        bind_addr=BindAddress("192.0.2.7", 443),
        allowed_hosts=("gate.example:443", "[2001:db8::1]:443", "198.51.100.1"),
    )
    names, addresses = front_names(CoreConfig(core_server=server))
    assert names == ("gate.example", "localhost")
    assert addresses == ("127.0.0.1", "192.0.2.7", "198.51.100.1", "2001:db8::1")


def test_an_address_for_every_interface_is_nobodys_name() -> None:
    names, addresses = front_names(CoreConfig(core_server=CoreServer(bind_addr=BindAddress("0.0.0.0", 443))))
    assert (names, addresses) == (("localhost",), ("127.0.0.1",))


def test_the_log_is_signed_with_the_same_key_after_a_restart(keys: KeyFolder) -> None:
    assert audit_key(keys).private_bytes_raw() == audit_key(keys).private_bytes_raw()


def test_a_host_loses_its_port_and_nothing_else() -> None:
    cases = {
        "gate.example.com": "gate.example.com",
        "gate.example.com:8443": "gate.example.com",
        "[2001:db8::1]": "[2001:db8::1]",
        "[2001:db8::1]:8443": "[2001:db8::1]",
    }
    assert {text: host_only(text) for text in cases} == cases
