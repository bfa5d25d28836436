from __future__ import annotations

import pytest

from sekisho.errors import Misconfigured
from sekisho.wire import TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://plugin.example.org:8443", TcpAddress(host="plugin.example.org", port=8443)),
        ("https://plugin.example.org", TcpAddress(host="plugin.example.org", port=8443)),
        ("https://127.0.0.1:0/", TcpAddress(host="127.0.0.1", port=0)),
        ("https://[::1]:99", TcpAddress(host="::1", port=99)),
        ("unix:/run/sekisho/echo.sock", UnixAddress(path="/run/sekisho/echo.sock")),
    ],
)
def test_an_address_is_read_and_written(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://plugin:8443",
        "plugin:8443",
        "https://",
        "https://plugin:99999",
        "https://plugin:x",
        "https://user@plugin",
        "https://plugin/path",
        "https://plugin?x=1",
        "https://plugin#x",
        "https://[::1",
        "unix:relative.sock",
        "unix:",
        "unix:/a\0b",
        "unix:/" + "x" * 107,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse_address(text)
    assert caught.value.code == "config_invalid"
