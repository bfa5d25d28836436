"""What is printed is what is in effect, without the secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sekisho.config import CoreConfig, effective, load_core, load_plugin, warnings_of
from sekisho.config.show import MASK

pytestmark = pytest.mark.requirement("A5.3")

Core = Callable[[str], CoreConfig]


def test_every_setting_is_shown_with_defaults(samples: Path) -> None:
    shown = effective(load_core(samples / "mcp-core-config.toml"))
    assert shown["core_server"]["bind_addr"] == "127.0.0.1:8080"
    assert shown["core_server"]["tls_key_path"] == "/etc/mcp/certs/core-server.key"  # a path, not the key
    assert shown["audit"]["durability"] == "effects"
    assert shown["plugins"]["servers"][1]["name"] == "github-handler"
    assert shown["plugins"]["servers"][1]["sandbox"]["max_memory_mb"] == 512
    assert shown["warnings"] == []
    json.dumps(shown)


def test_the_own_table_of_a_plugin_file_is_shown_under_its_name(samples: Path) -> None:
    shown = effective(load_plugin(samples / "wordpress-plugin-config.toml"))
    assert shown["wordpress"] == {"url": "https://wordpress.example.com"}
    json.dumps(shown)


def test_secrets_are_masked_and_named_as_a_weakness(core: Core) -> None:
    config = core(
        '[[plugins.servers]]\nname = "a"\ncommand = ["x"]\n[plugins.servers.settings]\n'
        'api_token = "hunter2"\ndsn = "postgres://me:hunter2@db/x"\nurl = "https://e"\n'
    )
    shown = effective(config)
    assert shown["plugins"]["servers"][0]["settings"] == {"api_token": MASK, "dsn": MASK, "url": "https://e"}
    assert "hunter2" not in json.dumps(shown)
    assert any("settings.api_token: looks like a secret" in one for one in shown["warnings"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[core_server]\ntls = "off"\n', "core_server.tls = off"),
        ('[audit]\ndurability = "written"\n', "audit.durability = written"),
        ("[audit]\ntamper_protection = false\n", "audit.tamper_protection = false"),
        ('[approval]\nanswer = "yes"\n', "approval.answer = yes"),
        (
            '[[plugins.servers]]\nname = "a"\ncommand = ["npx", "-y", "server"]\n',
            'a.command: npx fetches at each start, and a plugin has no registry; write package = "npm:server@VERSION"',
        ),
        ('[[plugins.servers]]\nname = "a"\nupstream = "http://far.example/mcp"\n', "a.upstream: plain HTTP"),
        (
            '[[plugins.servers]]\nname = "a"\ncommand = ["x"]\ninstances = "client"\nsandbox.max_memory_mb = 100\n',
            "a.max_instances: its limits count for each process; together up to 900 MB",
        ),
        (
            '[[plugins.servers]]\nname = "a"\nupstream = "https://far.example/mcp"\n',
            "outside sekisho's sandbox",
        ),
    ],
)
def test_each_weakened_guarantee_is_a_warning(core: Core, text: str, words: str) -> None:
    assert any(words in one for one in warnings_of(core(text)))


def test_a_status_page_that_is_closed_is_shown_so(core: Core) -> None:
    assert effective(core('[core_server]\nstatus_addr = "off"\n'))["core_server"]["status_addr"] == "off"
