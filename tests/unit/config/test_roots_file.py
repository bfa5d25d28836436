"""A file of roots is read as a person reads it, and nothing in it can do more than be read."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.config.roots_file import MAX_FILE_BYTES, read_roots_file
from sekisho.errors import Misconfigured


def read(folder: Path, text: str | bytes, name: str = "roots.yaml") -> object:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_roots_file(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.yaml", 'roots:\n  - uri: "file:///a"\n    yes: true\n    no: no\n    n: 1\n'),
        ("r.yml", "---\nroots: [{uri: file:///a, yes: true, no: 'no', n: '1'}]\n...\n"),
        ("r.json", '{"roots": [{"uri": "file:///a", "yes": true, "no": "no", "n": "1"}]}'),
        ("r.toml", '[[roots]]\nuri = "file:///a"\nyes = true\nno = "no"\nn = "1"\n'),
    ],
)
def test_every_format_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, text, name) == [{"uri": "file:///a", "yes": True, "no": "no", "n": "1"}]


BOMB = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nroots: [*b, *b, *b]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "anchors and aliases"),
        ("roots: &x []\n", "anchors and aliases"),
        ("roots: !!python/object/apply:os.system [id]\n", "tags"),
        ("roots: !!set {}\n", "tags"),
        ("roots: !!bool yes\n", "tags"),
        ("roots: []\nroots: [a]\n", "stands twice"),
        ("roots:\n- uri: a\n  uri: b\n", "line 3.*stands twice"),
        ("roots: []\n---\nroots: []\n", "more than one document"),
        ("roots: " + "[" * 40 + "]" * 40, "nested too deeply"),
        ("? [a]\n: b\n", "a key is not text"),
        ("<<: {roots: []}\n", "roots alone"),
        ("roots: []\nmore: 1\n", "roots alone"),
        ("- a\n", "roots alone"),
        ("", "roots alone"),
        ("roots: [", "cannot be read"),
        ("roots: \t- a", "cannot be read"),
        ("roots: \0", "cannot be read"),
    ],
)
def test_what_yaml_can_do_beside_being_read_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.json", '{"roots": [], "roots": []}', "stands twice"),
        ("r.json", '{"roots": [', "cannot be read"),
        ("r.json", "[" * 100_000, "nested too deeply"),
        ("r.toml", "roots = ", "cannot be read"),
        ("r.txt", "roots: []", "ends neither"),
        ("r.yaml", b"roots: [\xff]", "not UTF-8"),
        ("r.yaml", b"#" * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whole(
    tmp_path: Path, name: str, text: str | bytes, said: str
) -> None:
    with pytest.raises(Misconfigured, match=said):
        read(tmp_path, text, name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"none\.yaml.*no such file"):
        read_roots_file(tmp_path / "none.yaml")


@given(st.text(alphabet=st.sampled_from("roots:[]{}&*!-? \n'\"#|>%@,ab"), max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    with contextlib.suppress(Misconfigured):
        read(tmp_path_factory.getbasetemp(), text)
