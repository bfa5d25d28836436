"""The core file: the sample loads unchanged, each key counts, defaults are the safe ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.config import BindAddress, CoreConfig
from sekisho.errors import Misconfigured

Core = Callable[[str], CoreConfig]
Read = Callable[[CoreConfig], Any]

# each key of the sample: the line, the value it must have, another value, how it is read
KEYS: list[tuple[str, Any, str, Any, Read]] = [
    ('bind_addr = "127.0.0.1:8080"', BindAddress("127.0.0.1", 8080), 'bind_addr = "127.0.0.1:9"',
     BindAddress("127.0.0.1", 9), lambda c: c.core_server.bind_addr),
    ('tls_cert_path = "/etc/mcp/certs/core-server.crt"', Path("/etc/mcp/certs/core-server.crt"),
     'tls_cert_path = "/a"', Path("/a"), lambda c: c.core_server.tls_cert_path),
    ('tls_key_path = "/etc/mcp/certs/core-server.key"', Path("/etc/mcp/certs/core-server.key"),
     'tls_key_path = "/a"', Path("/a"), lambda c: c.core_server.tls_key_path),
    ('ca_cert_path = "/etc/mcp/certs/ca.crt"', Path("/etc/mcp/certs/ca.crt"),
     'ca_cert_path = "/a"', Path("/a"), lambda c: c.core_server.ca_cert_path),
    ("max_request_size_mb = 10", 10 << 20, "max_request_size_mb = 2", 2 << 20, lambda c: c.security.max_request_bytes),
    ("request_timeout_seconds = 30", 30.0, "request_timeout_seconds = 0.5", 0.5,
     lambda c: c.security.request_timeout_seconds),
    ("rate_limit_per_minute = 100", 100, "rate_limit_per_minute = 7", 7, lambda c: c.security.rate_limit_per_minute),
    ('log_level = "INFO"', "INFO", 'log_level = "DEBUG"', "DEBUG", lambda c: c.audit.log_level),
    ('log_file = "/var/log/mcp/core-audit.log"', Path("/var/log/mcp/core-audit.log"), 'log_file = "/a"', Path("/a"),
     lambda c: c.audit_log(Path("/home"))),
    ("tamper_protection = true", True, "tamper_protection = false", False, lambda c: c.audit.tamper_protection),
    ("discovery_timeout_seconds = 10", 10.0, "discovery_timeout_seconds = 3", 3.0,
     lambda c: c.plugins.discovery_timeout_seconds),
    ("health_check_interval_seconds = 30", 30.0, "health_check_interval_seconds = 3", 3.0,
     lambda c: c.plugins.health_check_interval_seconds),
    ('name = "wordpress-handler"', "wordpress-handler", 'name = "wp"', "wp", lambda c: c.plugins.servers[0].name),
    ('url = "https://plugin-wordpress:8443"', "https://plugin-wordpress:8443", 'url = "https://a:1"', "https://a:1",
     lambda c: c.plugins.servers[0].url),
    ('cert_path = "/etc/mcp/certs/wordpress-plugin.crt"', Path("/etc/mcp/certs/wordpress-plugin.crt"),
     'cert_path = "/a"', Path("/a"), lambda c: c.plugins.servers[0].cert_path),
    ('allowed_operations = ["list_posts", "create_post", "update_post"]',
     ("list_posts", "create_post", "update_post"), 'allowed_operations = ["x"]', ("x",),
     lambda c: c.plugins.servers[0].grants.allowed_operations),
    ("max_requests_per_minute = 50", 50, "max_requests_per_minute = 5", 5,
     lambda c: c.plugins.servers[0].max_requests_per_minute),
]  # fmt: skip


def servers(*entries: str) -> str:
    return "".join(f"[[plugins.servers]]\n{entry}\n" for entry in entries)


@pytest.mark.requirement("A5.1")
@pytest.mark.parametrize("row", KEYS, ids=[row[0].split(" =")[0] for row in KEYS])
def test_each_key_of_the_sample_takes_effect(
    core: Core, samples: Path, row: tuple[str, Any, str, Any, Read]
) -> None:
    line, value, other_line, other, read = row
    text = (samples / "mcp-core-config.toml").read_text(encoding="utf-8")
    assert read(core(text)) == value
    assert text.count(line + "\n") >= 1
    assert read(core(text.replace(line + "\n", other_line + "\n", 1))) == other


@pytest.mark.requirement("A5.1")
def test_the_sample_has_no_key_without_its_test(samples: Path) -> None:
    text = (samples / "mcp-core-config.toml").read_text(encoding="utf-8")
    written = {line.split(" = ")[0] for line in text.splitlines() if " = " in line}
    assert written == {row[0].split(" = ")[0] for row in KEYS}


def test_an_empty_file_is_the_safe_house(core: Core) -> None:
    config = core("")
    assert config == CoreConfig()
    assert config.core_server.bind_addr.is_loopback
    assert config.core_server.tls == "on"
    assert config.audit.tamper_protection
    assert config.audit.durability == "effects"
    assert config.approval.answer == "no"
    assert config.plugins.servers == ()
    assert config.audit_log(Path("/h")) == Path("/h/audit/log.jsonl")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[audit]\ndurability = "never"\n', '"effects" or "every" or "written"'),
    ],
)
@pytest.mark.requirement("A5.2")
def test_what_cannot_be_honoured_is_refused(core: Core, text: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words.replace("*", r"\*")):
        core(text)


def test_asking_for_a_plugin_that_is_not_there_names_those_that_are(core: Core) -> None:
    with pytest.raises(Misconfigured, match="no plugin is named b; configured: a"):
        core(servers('name = "a"\nurl = "https://a"')).plugin("b")


def test_asking_for_a_plugin_where_there_is_none_says_how_to_list_one(core: Core) -> None:
    with pytest.raises(Misconfigured, match="configured: none") as caught:
        core("").plugin("b")
    assert "[[plugins.servers]]" in caught.value.remedy
