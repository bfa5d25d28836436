"""A package is one exact version of one name, or it is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.install.package import PackageSpec, normal_python_name, read_package

GOOD = (
    "npm:is-number@7.0.0",
    "npm:@modelcontextprotocol/server-everything@2026.8.31",
    "npm:a@1.0.0-rc.1+build.5",
    "pypi:mcp-server-time==2026.10.19",
    "pypi:Some_Name.here==1!2.0rc1.post3.dev4+local.1",
    "pypi:mcp[cli,rich]==2.3",
)
BAD = (
    "",
    "is-number@7.0.0",
    "oci:x@1.0.0",
    "npm:is-number",
    "npm:is-number@latest",
    "npm:is-number@^7.0.0",
    "npm:is-number@7",
    "npm:is-number@7.0.0 --registry=http://x.example",
    "npm:../../etc@1.0.0",
    "npm:@scope/../x@1.0.0",
    "npm:git+https://x.example/a.git@1.0.0",
    "npm:Upper@1.0.0",
    "npm:-g@1.0.0",
    "npm:x@npm:y@1.0.0",
    "pypi:name",
    "pypi:name>=1.0",
    "pypi:name==1.*",
    "pypi:name===1.0",
    "pypi:name==1.0; python_version > '3'",
    "pypi:name @ https://x.example/a.whl==1",
    "pypi:-r==1.0",
    "pypi:name==1.0\n--index-url=http://x.example",
    "pypi:name[]==1.0",
    "pypi:name[a==1.0",
    "pypi:mcp-server-tіme==1.0",  # a Cyrillic letter
    "npm:ｍcp@1.0.0",
    "npm:" + "a" * 300 + "@1.0.0",
)


@pytest.mark.parametrize("text", GOOD)
def test_one_exact_release_is_read_and_written_as_it_was(text: str) -> None:
    assert str(read_package(text)) == text


@pytest.mark.parametrize("text", BAD)
def test_whatever_is_not_one_exact_release_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read_package(text)
    assert "one exact version" in caught.value.remedy


@given(st.text())
def test_a_line_is_read_in_one_way_or_refused(text: str) -> None:
    for line in (text, f"npm:{text}@1.0.0", f"pypi:{text}==1.0"):
        try:
            package = read_package(line)
        except Misconfigured:
            continue
        assert read_package(str(package)) == package
        assert not package.requirement.startswith("-")
        assert not set(package.requirement) & set(" \t\r\n;'\"\\$`")


def test_extras_are_sorted_and_named_once() -> None:
    assert read_package("pypi:mcp[rich,CLI,cli]==2.3") == PackageSpec(
        ecosystem="pypi", name="mcp", version="2.3", extras=("cli", "rich")
    )


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", fullmatch=True))
def test_normalising_a_python_name_twice_changes_nothing(name: str) -> None:
    assert normal_python_name(normal_python_name(name)) == normal_python_name(name)


def test_every_spelling_of_a_python_name_is_the_same() -> None:
    assert {normal_python_name(one) for one in ("A_b.C", "a-b-c", "a__b--c")} == {"a-b-c"}
