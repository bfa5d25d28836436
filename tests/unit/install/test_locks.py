"""A lock names every file by digest, and only what the registry may give."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Refused, Tampered
from sekisho.install import locks
from sekisho.install.locks import (
    Wheel,
    check_npm_lock,
    check_python_lock,
    is_same_release,
    read_wheel_name,
    write_python_lock,
)
from sekisho.install.package import read_package

TIME = read_package("pypi:mcp-server-time==2026.10.19")
EVERYTHING = read_package("npm:@a/everything@1.2.3")
HASH = "0" * 64
GOOD = "sha512-" + base64.b64encode(b"x" * 64).decode()

wheels = st.lists(
    st.builds(
        Wheel,
        name=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(
            lambda name: "--" not in name
        ),
        version=st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}", fullmatch=True),
        sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    ),
    max_size=5,
    unique_by=lambda wheel: wheel.name,
)
OWN = Wheel(name="mcp-server-time", version="2026.10.19", sha256=HASH)


@given(wheels)
def test_a_lock_we_wrote_is_one_we_take(others: list[Wheel]) -> None:
    assert check_python_lock(write_python_lock([*others, OWN]), TIME) == len(others) + 1


@given(wheels, st.data())
def test_one_changed_byte_of_a_lock_is_noticed(others: list[Wheel], data: st.DataObject) -> None:
    text = bytearray(write_python_lock([*others, OWN]))
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 255))
    try:
        check_python_lock(bytes(text), TIME)
    except (Tampered, Refused):
        return
    # What is still a lock states another file, so nothing that was fetched for the first one fits it.
    assert bytes(text) != write_python_lock([*others, OWN])


@pytest.mark.parametrize(
    "line",
    [
        "--index-url=https://evil.example\n",
        "mcp-server-time @ https://evil.example/x.whl\n",
        "-e .\n",
        "mcp-server-time==2026.10.19\n",
        f"mcp-server-time==2026.10.19 --hash=md5:{'0' * 32}\n",
    ],
)
def test_a_line_that_is_no_locked_wheel_is_refused(line: str) -> None:
    with pytest.raises(Tampered):
        check_python_lock(write_python_lock([OWN]) + line.encode(), TIME)


def test_a_lock_that_is_spelled_in_another_way_is_none_of_ours() -> None:
    lock = write_python_lock([OWN, Wheel(name="a", version="1.0", sha256=HASH)])
    head, first, second = lock.splitlines(keepends=True)
    for other in (
        b"# Another head, of the same length or of any.\n" + first + second,
        head.swapcase() + first + second,
        head + second + first,
        lock[:-1],
        lock + b"\n",
        lock.replace(b"\n", b"\r\n"),
    ):
        with pytest.raises(Tampered):
            check_python_lock(other, TIME)


def test_a_registry_that_gives_another_version_or_another_package_is_refused() -> None:
    for answer in (
        Wheel(name="mcp-server-time", version="2026.10.20", sha256=HASH),
        Wheel(name="mcp-server-tlme", version="2026.10.19", sha256=HASH),
    ):
        with pytest.raises(Refused, match="the registry gave mcp-server-time"):
            check_python_lock(write_python_lock([answer]), TIME)


def test_two_versions_of_one_package_are_refused() -> None:
    other = Wheel(name="mcp-server-time", version="1.0", sha256=HASH)
    with pytest.raises(Refused, match="two versions"):
        check_python_lock(write_python_lock([OWN, other]), TIME)


@pytest.mark.parametrize(
    ("file_name", "name", "version"),
    [
        ("mcp_server_time-2026.10.19-py3-none-any.whl", "mcp-server-time", "2026.10.19"),
        ("Some.Name-1.0.post1-2build-cp311-cp311-manylinux_2_17_x86_64.whl", "some-name", "1.0.post1"),
        ("torch-2.1.0+cpu-cp311-cp311-linux_x86_64.whl", "torch", "2.1.0+cpu"),
    ],
)
def test_a_wheel_is_read_by_its_name(file_name: str, name: str, version: str) -> None:
    assert read_wheel_name(file_name, HASH) == Wheel(name=name, version=version, sha256=HASH)


@pytest.mark.parametrize(
    "file_name",
    ["x-1.0.tar.gz", "x.whl", "x-1.0-py3-none-any.whl.exe", "../x-1.0-py3-none-any.whl", "-x-1-a-b-c.whl"],
)
def test_a_file_that_is_no_wheel_is_refused(file_name: str) -> None:
    with pytest.raises(Refused, match="no wheel"):
        read_wheel_name(file_name, HASH)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1"), ("1.0.0", "1.0"), ("1.0RC1", "1rc1"), ("1+a-b", "1+A.b")]
)
def test_spellings_of_one_release_are_the_same(one: str, other: str) -> None:
    assert is_same_release(one, other)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1.1"), ("1.0", "10"), ("1.0", "1.0.post1"), ("", "0"), ("1", "1!1")]
)
def test_other_releases_are_not(one: str, other: str) -> None:
    assert not is_same_release(one, other)


def _npm(**entries: dict[str, Any]) -> bytes:
    packages = {
        "": {"dependencies": {"@a/everything": "1.2.3"}},
        "node_modules/@a/everything": {"version": "1.2.3", "integrity": GOOD},
        **{f"node_modules/{name}": entry for name, entry in entries.items()},
    }
    return json.dumps({"lockfileVersion": 3, "packages": packages}).encode()


def test_a_lock_whose_packages_all_come_from_the_registry_is_taken() -> None:
    assert check_npm_lock(_npm(), EVERYTHING) == 1
    assert (
        check_npm_lock(
            _npm(b={"version": "2.0.0", "integrity": f"sha1-abc {GOOD}", "optional": True}), EVERYTHING
        )
        == 2
    )
    inside = {"@a/everything/node_modules/@b/c": {"version": "2.0.0-beta.1+x", "inBundle": True}}
    assert check_npm_lock(_npm(**inside), EVERYTHING) == 2
    assert check_npm_lock(_npm(JSONStream={"version": "2.0.0", "integrity": GOOD}), EVERYTHING) == 2


@pytest.mark.parametrize(
    "entry",
    [
        {"version": "1.0.0"},
        {"version": "1.0.0", "integrity": "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="},
        {"version": "1.0.0", "integrity": "sha512-abc"},
        {"version": "1.0.0", "integrity": "sha512-!!!"},
        {"version": "1.0.0", "integrity": "sha384-" + GOOD.removeprefix("sha512-")},
        {"version": "1.0.0", "integrity": "sha512-" + base64.b64encode(b"x" * 63).decode()},
        {"version": "1.0.0", "resolved": "git+ssh://git@evil.example/x.git#abc", "integrity": GOOD},
        {"version": "1.0.0", "resolved": "https://evil.example/x.tgz", "integrity": GOOD},
        {"version": "1.0.0", "resolved": "", "integrity": GOOD},
        {"version": "1.0.0", "link": True, "integrity": GOOD},
        {"version": "1.0.0", "inBundle": True, "resolved": "https://evil.example/x.tgz"},
        {"version": "1.0.0", "inBundle": True},  # in whose file?
        {"version": "git+https://evil.example/x.git", "integrity": GOOD},
        {"version": "npm:evil@1.0.0", "integrity": GOOD},
        {"version": "https://evil.example/x.tgz", "integrity": GOOD},
        {"version": 1, "integrity": GOOD},
        {"integrity": GOOD},  # each of these has one fault, and would be taken without it
        "1.0.0",
        None,
    ],
)
def test_a_dependency_from_elsewhere_or_without_a_digest_is_refused(entry: Any) -> None:
    with pytest.raises(Refused):
        check_npm_lock(_npm(b=entry), EVERYTHING)


@pytest.mark.parametrize(
    "path", ["../b", "b/../../c", "b/node_modules/../../../c", "b/c", "b/node_modules", "@b", ".bin/b", "b "]
)
@pytest.mark.parametrize(
    "entry", [{"version": "1.0.0", "integrity": GOOD}, {"version": "1.0.0", "inBundle": True}]
)
def test_a_package_stands_in_its_place_or_the_lock_is_refused(path: str, entry: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        check_npm_lock(_npm(**{path: entry}), EVERYTHING)


@pytest.mark.parametrize(("said", "is_taken"), [(True, True), (1, False), ("yes", False), (False, False)])
def test_what_comes_inside_another_package_says_so_plainly(said: object, is_taken: bool) -> None:
    lock = _npm(**{"@a/everything/node_modules/b": {"version": "1.0.0", "inBundle": said}})
    if is_taken:
        assert check_npm_lock(lock, EVERYTHING) == 2
        return
    with pytest.raises(Refused, match="SHA-512"):
        check_npm_lock(lock, EVERYTHING)


def test_another_version_of_the_package_than_was_asked_for_is_refused() -> None:
    with pytest.raises(Refused, match=r"the registry gave @a/everything '1\.2\.4' for"):
        check_npm_lock(_npm().replace(b'"version": "1.2.3"', b'"version": "1.2.4"'), EVERYTHING)


def test_a_lock_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "MAX_LOCK_BYTES", len(_npm()))
    assert check_npm_lock(_npm(), EVERYTHING) == 1
    with pytest.raises(Refused, match="too long"):
        check_npm_lock(_npm() + b" ", EVERYTHING)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b"null", b'{"packages": []}', b'{"packages": {"": {}}}', b"[" * 100_000, b"\xff",
        _npm()[:-1] + b',"more":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        json.dumps({"packages": {"node_modules/@a/everything": {"version": "1.2.4", "integrity": GOOD}}}).encode(),
        _npm().replace(b'"lockfileVersion": 3', b'"lockfileVersion": 1'),
        _npm().replace(b'"lockfileVersion": 3', b'"x": 3'),
        json.dumps({"packages": {"../x": {"integrity": GOOD}, **json.loads(_npm())["packages"]}}).encode(),
    ],
)  # fmt: skip
def test_a_lock_that_cannot_be_read_or_lacks_the_package_is_refused(content: bytes) -> None:
    with pytest.raises(Refused):
        check_npm_lock(content, EVERYTHING)
