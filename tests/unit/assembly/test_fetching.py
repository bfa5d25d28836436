from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.assembly.fetching import Endpoint, trust_of
from sekisho.errors import Misconfigured, Unavailable


@pytest.mark.threat("T-ISSUER")
@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://localhost@evil.example/keys",
        "https://user:secret@login.example.com/keys",
        "file:///etc/passwd",
        "ftp://127.0.0.1/keys",
        "//127.0.0.1/keys",
        "https://",
        "https://login.example.com:0/keys",
        "https://login.example.com:x/keys",
        "https://[::1/keys",
        "",
    ],
)
def test_only_https_is_asked_and_plain_http_on_loopback_where_it_is_allowed(url: str) -> None:
    with pytest.raises(Unavailable) as caught:
        Endpoint(url, may_be_plain=True)
    assert caught.value.code == "issuer_unavailable"


def test_an_address_is_taken_apart_as_it_is_asked() -> None:
    secure = Endpoint("https://login.example.com/realms/a?x=1", may_be_plain=False)
    assert (secure.host, secure.port, secure.target, secure.is_tls) == (
        "login.example.com",
        443,
        "/realms/a?x=1",
        True,
    )
    plain = Endpoint("http://127.0.0.1:9", may_be_plain=True)
    assert (plain.host, plain.port, plain.target, plain.is_tls) == ("127.0.0.1", 9, "/", False)
    with pytest.raises(Unavailable):
        Endpoint("http://127.0.0.1:9", may_be_plain=False)


def test_an_authority_that_cannot_be_read_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for path in (tmp_path / "ca.pem", tmp_path / "absent.pem"):
        with pytest.raises(Misconfigured):
            trust_of(path)


def test_certificates_are_verified() -> None:
    context = trust_of(None)
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
