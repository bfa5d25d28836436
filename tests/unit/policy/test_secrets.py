"""References, hosts and grants of secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.policy import Grants, NetworkGrant, SecretGrant, SecretHost, SecretReference

API = SecretHost("api.example.com", 443)


@pytest.mark.parametrize(
    "text", ["env:GITHUB_TOKEN", "file:/run/secrets/token", "keyring:github/me", "credential:github.token"]
)
def test_a_reference_reads_and_writes_itself(text: str) -> None:
    assert str(SecretReference.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "",
        "env:",
        "env:A=b",
        "file:",
        "file:~/token",
        "file:/a\nb",
        "keyring:github",
        "credential:../../etc/shadow",
        "credential:..",
        "vault:x",
    ],
)
def test_what_is_no_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        SecretReference.parse(text)
    assert len(text) < 6 or text not in str(caught.value)


def test_a_host_means_tls_unless_it_is_written_otherwise() -> None:
    assert SecretHost.parse("api.example.com") == API
    assert SecretHost.parse("https://api.example.com:8443") == SecretHost("api.example.com", 8443)
    assert SecretHost.parse("http://api.example.com") == SecretHost("api.example.com", 80, is_secure=False)


@pytest.mark.parametrize(
    "text",
    ["*.example.com", "127.0.0.1", "0x7f.1", "API.example.com", "api.example.com/", "ftp://a.b", "a.b:0", "a.b:65536",
     "a@b.example", "example.com.", ""],
)  # fmt: skip
def test_a_pattern_an_address_or_a_path_is_no_host_for_a_secret(text: str) -> None:
    with pytest.raises(Misconfigured):
        SecretHost.parse(text)


@given(
    st.from_regex(r"(https?://)?[a-z][a-z0-9-]{0,8}[a-z0-9]\.[a-z]{2,6}(:[1-9][0-9]{0,3})?", fullmatch=True)
)
def test_a_host_written_out_means_itself(text: str) -> None:
    host = SecretHost.parse(text)
    assert SecretHost.parse(str(host)) == host


def test_a_secret_needs_somewhere_to_go() -> None:
    reference = SecretReference.parse("env:TOKEN")
    with pytest.raises(Misconfigured, match="no host"):
        SecretGrant(name="TOKEN", reference=reference)
    with pytest.raises(Misconfigured, match="nowhere"):
        SecretGrant(name="TOKEN", reference=reference, hosts=(API,), places=())
    assert SecretGrant(name="TOKEN", reference=reference, in_environment=True).hosts == ()


def test_a_secret_under_a_name_that_runs_code_or_stands_twice_is_refused() -> None:
    reference = SecretReference.parse("env:TOKEN")
    for name in ("LD_PRELOAD", "NODE_OPTIONS", "git_ssh_command", "a-b"):
        with pytest.raises(Misconfigured, match="not allowed"):
            Grants(secrets=(SecretGrant(name=name, reference=reference, hosts=(API,)),))
    secret = SecretGrant(name="TOKEN", reference=reference, hosts=(API,))
    with pytest.raises(Misconfigured, match="too"):
        Grants(secrets=(secret,), environment=("TOKEN",))
    assert Grants(secrets=(secret,), environment=("OTHER",)).needs_lease


def test_a_lease_is_needed_for_placeholders_and_for_an_authority_only() -> None:
    reference = SecretReference.parse("env:TOKEN")
    in_environment = SecretGrant(name="TOKEN", reference=reference, in_environment=True)
    assert not Grants(secrets=(in_environment,)).needs_lease
    assert Grants(network=NetworkGrant(intercept_tls=True)).needs_lease


def test_the_reach_tells_the_reference_the_hosts_and_the_open_value() -> None:
    reference = SecretReference.parse("env:TOKEN")
    closed = SecretGrant(name="T", reference=reference, hosts=(API,))
    assert closed.reach == "T from env:TOKEN: a placeholder, for https://api.example.com in headers, query"
    opened = SecretGrant(name="T", reference=reference, hosts=(API,), in_environment=True)
    assert "THE VALUE ITSELF" in opened.reach
