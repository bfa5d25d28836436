"""Addresses and names that several tables share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.config.values import (
    BindAddress,
    bind_address,
    check_pair,
    client_requests,
    command_words,
    environment_name,
    extension_name,
    is_loopback,
    is_secret_name,
    name_kind,
    operation,
    resource_name,
    web_address,
)
from sekisho.errors import Misconfigured

FOLDER = Path("/")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:0", "::1", 0),
        ("localhost:65535", "localhost", 65535),
        ("mcp-core.example:1", "mcp-core.example", 1),
    ],
)
def test_a_bind_address_is_read_and_written_the_same(text: str, host: str, port: int) -> None:
    address = BindAddress.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "host:",
        "host:65536",
        "host:-1",
        "::1:80",
        "[::1",
        "[x]:1",
        "a b:1",
        "h:1\n",
        "[1]:1",
    ],
)
@pytest.mark.requirement("A5.2")
def test_anything_else_is_no_bind_address(text: str) -> None:
    with pytest.raises(Misconfigured):
        BindAddress.parse(text)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_survives_a_round_trip(address: object, port: int) -> None:
    made = BindAddress(str(address), port)
    if "%" not in made.host:
        assert BindAddress.parse(str(made)) == made


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_recognised(host: str) -> None:
    assert is_loopback(host)
    assert BindAddress(host, 1).is_loopback


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example", "LOCALHOST"]
)
def test_nothing_else_is_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_only_the_status_address_may_be_off() -> None:
    assert bind_address(may_be_off=True).read("off", FOLDER) is None
    with pytest.raises(Misconfigured):
        bind_address().read("off", FOLDER)
    with pytest.raises(Misconfigured):
        bind_address().read(8080, FOLDER)


@pytest.mark.parametrize(
    "url", ["https://h", "https://h:8443", "https://h:8443/", "https://[::1]:1", "unix:/run/a.sock"]
)
def test_an_endpoint_is_a_host_or_a_socket(url: str) -> None:
    assert web_address("https", "unix", with_path=False).read(url, FOLDER) == url


@pytest.mark.parametrize(
    "url",
    [
        "", "h:1", "http://h", "https://", "https://h:0", "https://h:99999", "https://h/p", "https://h?q", "https://h#f",
        "https://u@h", "https://u:p@h", "https://h\\x", "https://h\n", "https://h h", "https://[::1",
        "unix:", "unix:rel", 7,
    ],
)  # fmt: skip
def test_any_other_endpoint_is_refused(url: object) -> None:
    with pytest.raises(Misconfigured):
        web_address("https", "unix", with_path=False).read(url, FOLDER)


def test_an_upstream_may_have_a_path() -> None:
    assert web_address("http", with_path=True).read("http://127.0.0.1:3000/mcp", FOLDER)


@pytest.mark.parametrize("name", ["*", "list*", "", "a b", "x" * 129, "a\n", 3])
def test_an_operation_is_an_exact_name(name: object) -> None:
    assert operation().read("list_posts", FOLDER) == "list_posts"
    with pytest.raises(Misconfigured):
        operation().read(name, FOLDER)


@pytest.mark.parametrize("name", ["Notes", "a--b", "-a", "a_b", "x" * 33, ""])
def test_a_plugin_name_follows_the_rule_of_names(name: str) -> None:
    assert name_kind().read("wordpress-handler", FOLDER) == "wordpress-handler"
    with pytest.raises(Misconfigured):
        name_kind().read(name, FOLDER)


@pytest.mark.parametrize("name", ["A=b", "1A", "A B", "", "LD_PRELOAD", "PATH", "NODE_OPTIONS", 3])
def test_a_dangerous_or_malformed_variable_is_refused(name: object) -> None:
    assert environment_name().read("GITHUB_TOKEN", FOLDER) == "GITHUB_TOKEN"
    with pytest.raises(Misconfigured):
        environment_name().read(name, FOLDER)


def test_a_certificate_and_its_key_come_together() -> None:
    check_pair(None, None)
    check_pair(Path("a"), Path("b"))
    with pytest.raises(Misconfigured, match="without tls_key_path"):
        check_pair(Path("a"), None)
    with pytest.raises(Misconfigured, match="without tls_cert_path"):
        check_pair(None, Path("b"))


@pytest.mark.parametrize(
    "name", ["token", "API_KEY", "password", "clientSecret", "passphrase", "credentials"]
)
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert is_secret_name(name)
    assert not is_secret_name("url")


@pytest.mark.parametrize("words", [["elicitation"], ["elicitation-url", "roots", "sampling"], []])
def test_what_may_be_asked_of_clients_is_a_closed_set(words: list[str]) -> None:
    assert client_requests().read(words, FOLDER) == tuple(words)
    for other in ("tools", "*", "Sampling", ""):
        with pytest.raises(Misconfigured):
            client_requests().read([*words, other], FOLDER)


@pytest.mark.parametrize("name", ["test://a", "file:///pub/*", "ui://x?y=1#z"])
def test_a_resource_is_a_uri_or_its_beginning(name: str) -> None:
    assert resource_name().read(name, FOLDER) == name


@pytest.mark.parametrize("name", ["", "*", "a*b", "**", "a b", "a\n", 3, "a\u200b"])
def test_any_other_resource_is_refused(name: object) -> None:
    with pytest.raises(Misconfigured):
        resource_name().read(name, FOLDER)


@pytest.mark.parametrize("name", ["io.modelcontextprotocol/ui", "com.example/my_ext.v2", "a/b"])
def test_an_extension_has_a_prefix_and_a_name(name: str) -> None:
    assert extension_name().read(name, FOLDER) == name


@pytest.mark.parametrize(
    "name", ["", "ui", "/ui", "io.x/", "io x/ui", "io.x/ui/y", "*/ui", ".x/ui", "x/ui\n", 3]
)
def test_any_other_extension_is_refused(name: object) -> None:
    with pytest.raises(Misconfigured):
        extension_name().read(name, FOLDER)


@pytest.mark.parametrize("value", ["npx server", [], [""], ["a", 3], ["a", "b\0"]])
def test_a_command_is_a_list_of_words(value: object) -> None:
    assert command_words().read(["npx", "-y", "-y", ""], FOLDER) == ("npx", "-y", "-y", "")
    with pytest.raises(Misconfigured):
        command_words().read(value, FOLDER)
