"""The core file: the sample loads unchanged, each key counts, defaults are the safe ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.config import BindAddress, CoreConfig, load_core
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


def test_both_plugins_of_the_sample_are_there_in_order(samples: Path) -> None:
    config = load_core(samples / "mcp-core-config.toml")
    assert [one.name for one in config.plugins.servers] == ["wordpress-handler", "github-handler"]
    assert config.plugin("github-handler").max_requests_per_minute == 30
    assert not config.plugin("github-handler").runs_here


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


def test_a_plugin_without_allowed_operations_may_do_nothing(core: Core) -> None:
    entry = core(servers('name = "a"\ncommand = ["x"]')).plugin("a")
    assert entry.allowed_operations == ()
    assert entry.grants.network.is_closed


def test_a_plugin_may_ask_for_forms_and_serves_what_was_approved_unless_told_otherwise(core: Core) -> None:
    entry = core(servers('name = "a"\ncommand = ["x"]')).plugin("a")
    assert entry.client_requests == entry.workload.client_requests == ("elicitation",)
    assert (entry.allowed_prompts, entry.allowed_resources) == (None, None)
    assert entry.extensions == ("io.modelcontextprotocol/ui",)
    narrowed = core(
        servers(
            'name = "a"\ncommand = ["x"]\nclient_requests = ["sampling"]\nallowed_prompts = ["say hello"]\n'
            'allowed_resources = ["note://1", "file:///pub/*"]\nextensions = []'
        )
    ).plugin("a")
    assert narrowed.client_requests == narrowed.workload.client_requests == ("sampling",)
    assert narrowed.allowed_prompts == ("say hello",)
    assert narrowed.allowed_resources == ("note://1", "file:///pub/*")
    assert narrowed.extensions == ()


def test_clients_share_a_plugin_unless_told_otherwise(core: Core) -> None:
    entry = core(servers('name = "a"\ncommand = ["x"]')).plugin("a")
    assert (entry.instances, entry.workload.instances, entry.workload.gates) == ("shared", "shared", 0)
    own = core(
        servers(
            'name = "a"\ncommand = ["x"]\ninstances = "session"\nmax_instances = 3\ninstance_idle_seconds = 9'
        )
    ).plugin("a")
    assert (own.instances, own.workload.instances, own.workload.gates) == ("session", "session", 3)
    assert own.workload.instance_idle_s == 9


def test_allowing_no_prompt_differs_from_leaving_the_key_out(core: Core) -> None:
    entry = core(servers('name = "a"\ncommand = ["x"]\nallowed_prompts = []\nallowed_resources = []')).plugin(
        "a"
    )
    assert (entry.allowed_prompts, entry.allowed_resources) == ((), ())


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:1"])
def test_plain_http_is_for_loopback(core: Core, address: str) -> None:
    assert core(f'[core_server]\nbind_addr = "{address}"\ntls = "off"\n').core_server.tls == "off"


@pytest.mark.requirement("A5.2")
@pytest.mark.parametrize("address", ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "example.com:80"])
def test_plain_http_is_refused_elsewhere(core: Core, address: str) -> None:
    with pytest.raises(Misconfigured, match='expected "on"'):
        core(f'[core_server]\nbind_addr = "{address}"\ntls = "off"\n')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (servers('name = "a"'), "names nothing to reach or run"),
        (servers('name = "a"\ncommand = ["x"]\nupstream = "http://127.0.0.1:1/mcp"'), "one of the two"),
        (servers('name = "a"\nurl = "https://a"', 'name = "a"\nurl = "https://b"'), "two plugins named a"),
        (servers('name = "a"\nurl = "https://a"\nrequire_approval = ["delete"]'), "names delete"),
        (servers('name = "a"\nurl = "https://a"\nallowed_operations = ["*"]'), "exact name of a tool"),
        (servers('name = "a"\nurl = "https://a"\nallowed_resources = ["a*b"]'), "its beginning"),
        (servers('name = "a"\nurl = "https://a"\nclient_requests = ["tools"]'), "elicitation"),
        (servers('name = "a"\nurl = "https://a"\nextensions = ["ui"]'), "an identifier such as"),
        (servers('name = "node"\nurl = "https://a"\nsettings = { options = "x" }'), "NODE_OPTIONS"),
        ('[core_server]\ntls_cert_path = "/a"\n', "without tls_key_path"),
        ('[core_server]\ntrust_domain = "Not A Domain"\n', "domain name"),
        ('[core_server]\nallowed_origins = ["*"]\n', "an origin such as"),
        ('[core_server]\nallowed_hosts = ["a/b"]\n', "a host name"),
        ('[audit]\ndurability = "never"\n', '"effects" or "every" or "written"'),
    ],
)
@pytest.mark.requirement("A5.2")
def test_what_cannot_be_honoured_is_refused(core: Core, text: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words.replace("*", r"\*")):
        core(text)


def test_a_plugin_that_runs_here_carries_its_whole_workload(core: Core, tmp_path: Path) -> None:
    entry = core(
        servers(
            'name = "wp-x"\ncommand = ["uvx", "wp"]\nworking_directory = "w"\nruntime_paths = ["rt"]\n'
            'settings = { url = "https://e" }\nenvironment = ["WP_TOKEN"]'
        )
    ).plugin("wp-x")
    workload = entry.workload
    assert entry.runs_here
    assert workload.command == ("uvx", "wp")
    assert workload.working_directory == tmp_path / "w"
    assert workload.runtime_paths == (tmp_path / "rt",)
    assert workload.settings_environment == {"WP_URL": "https://e"}
    assert workload.grants.environment == ("WP_TOKEN",)


def test_the_status_address_can_be_moved_or_closed(core: Core) -> None:
    assert str(core("").core_server.status_addr) == "127.0.0.1:9464"
    assert core('[core_server]\nstatus_addr = "off"\n').core_server.status_addr is None


def test_asking_for_a_plugin_that_is_not_there_names_those_that_are(core: Core) -> None:
    with pytest.raises(Misconfigured, match="no plugin is named b; configured: a"):
        core(servers('name = "a"\nurl = "https://a"')).plugin("b")


def test_asking_for_a_plugin_where_there_is_none_says_how_to_list_one(core: Core) -> None:
    with pytest.raises(Misconfigured, match="configured: none") as caught:
        core("").plugin("b")
    assert "[[plugins.servers]]" in caught.value.remedy


@pytest.mark.parametrize("workers", [0, 2])
def test_the_oldest_transport_is_off_and_needs_one_process(core: Core, workers: int) -> None:
    assert not core("").core_server.legacy_sse
    assert core("[core_server]\nlegacy_sse = true\n").core_server.legacy_sse
    with pytest.raises(Misconfigured, match="legacy_sse"):
        core(f"[core_server]\nlegacy_sse = true\nworkers = {workers}\n")
