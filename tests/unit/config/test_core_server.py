"""The door: plain HTTP is for loopback, and nothing is served that could not work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sekisho.config import CoreConfig
from sekisho.errors import Misconfigured

Core = Callable[[str], CoreConfig]


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:1"])
def test_plain_http_is_for_loopback(core: Core, address: str) -> None:
    assert core(f'[core_server]\nbind_addr = "{address}"\ntls = "off"\n').core_server.tls == "off"


@pytest.mark.requirement("A5.2")
@pytest.mark.parametrize("address", ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "example.com:80"])
def test_plain_http_is_refused_elsewhere(core: Core, address: str) -> None:
    with pytest.raises(Misconfigured, match='expected "on"'):
        core(f'[core_server]\nbind_addr = "{address}"\ntls = "off"\n')


def test_the_status_address_can_be_moved_or_closed(core: Core) -> None:
    assert str(core("").core_server.status_addr) == "127.0.0.1:9464"
    assert core('[core_server]\nstatus_addr = "off"\n').core_server.status_addr is None


@pytest.mark.parametrize("workers", [0, 2])
def test_the_oldest_transport_is_off_and_needs_one_process(core: Core, workers: int) -> None:
    assert not core("").core_server.legacy_sse
    assert core("[core_server]\nlegacy_sse = true\n").core_server.legacy_sse
    with pytest.raises(Misconfigured, match="legacy_sse"):
        core(f"[core_server]\nlegacy_sse = true\nworkers = {workers}\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[core_server]\ntls_cert_path = "/a"\n', "without tls_key_path"),
        ('[core_server]\ntrust_domain = "Not A Domain"\n', "domain name"),
        ('[core_server]\nallowed_origins = ["*"]\n', "an origin such as"),
        ('[core_server]\nallowed_hosts = ["a/b"]\n', "a host name"),
    ],
)
@pytest.mark.requirement("A5.2")
def test_what_cannot_be_honoured_is_refused(core: Core, text: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words.replace("*", r"\*")):
        core(text)
