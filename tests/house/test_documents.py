"""The documents are in step with each other and with the code, and their examples are real."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
import xml.etree.ElementTree as ET
from itertools import takewhile
from pathlib import Path
from typing import Final

import pytest
from cyclopts import CycloptsError

LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND: Final = re.compile(r"(?:^|[`/(\s])sekisho((?: [a-z][a-z-]*)+)")
HEADING: Final = re.compile(r"^(#+) ", re.MULTILINE)
FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SHELL: Final = {"|", ">", ">>", "<", "&&", "||", "&", ";", "2>"}
MAX_README_LINES: Final = 100  # two screens


def test_every_relative_link_leads_somewhere(root: Path, pages: dict[str, str]) -> None:
    for page, text in pages.items():
        for target in LINK.findall(FENCED.sub("", text)):
            if not target.startswith(("https://", "http://", "#")):
                assert (root / page).parent.joinpath(target.partition("#")[0]).exists(), f"{page}: {target}"


def test_every_link_to_a_heading_finds_it(root: Path, pages: dict[str, str]) -> None:
    lost = []
    for page, text in pages.items():
        for target in LINK.findall(FENCED.sub("", text)):
            file, _, anchor = target.partition("#")
            found = (root / page).parent.joinpath(file).resolve() if file else root / page
            if anchor and found.suffix == ".md" and not target.startswith("http"):
                name = found.relative_to(root).as_posix()
                lost += [f"{page}: {target}"] if anchor not in _anchors(pages[name]) else []
    assert not lost


def _anchors(text: str) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in plain}


def test_every_page_is_reached_from_the_readme(root: Path, pages: dict[str, str]) -> None:
    reached, waiting = set[str](), ["README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page not in pages:
            continue
        reached.add(page)
        for target in LINK.findall(pages[page]):
            found = (root / page).parent.joinpath(target.partition("#")[0]).resolve()
            if found.is_relative_to(root):
                waiting.append(found.relative_to(root).as_posix())
    lonely = {page for page in pages if not page.startswith("docs/decisions/")} - reached - {"README.ja.md"}
    assert not lonely


def test_the_reading_order_of_a_call_names_files_that_exist(root: Path, pages: dict[str, str]) -> None:
    """Of a table under "file of `gateway/`" the folder is known."""
    source = root / "src" / "sekisho"
    named = re.findall(r"`([\w/]+\.py)`", pages["docs/concepts/architecture.md"])
    assert len(named) > 10
    assert [
        name for name in named if not any((at / name).exists() for at in (source, source / "gateway"))
    ] == []


def test_both_readmes_have_the_same_shape(pages: dict[str, str], blocks: list[tuple[str, str, str]]) -> None:
    english, japanese = pages["README.md"], pages["README.ja.md"]

    def shape(text: str) -> list[str]:
        return HEADING.findall(FENCED.sub("", text))

    def code(page: str) -> list[tuple[str, str]]:
        return [(language, text) for its_page, language, text in blocks if its_page == page]

    assert shape(english) == shape(japanese)
    assert code("README.md") == code("README.ja.md")
    assert set(LINK.findall(english)) == set(LINK.findall(japanese))


def test_the_readme_fits_two_screens(pages: dict[str, str]) -> None:
    assert len(pages["README.md"].splitlines()) <= MAX_README_LINES


def test_every_example_parses(blocks: list[tuple[str, str, str]]) -> None:
    for page, language, text in blocks:
        try:
            match language:
                case "toml":
                    tomllib.loads(text)
                case "json":
                    json.loads(text)
                case "python":
                    ast.parse(text)
                case "console" | "text":
                    pass
                case _:
                    pytest.fail(f"{page}: a block without a known language")
        except ValueError as error:
            pytest.fail(f"{page}: {error}")


def test_every_configuration_example_loads(blocks: list[tuple[str, str, str]], tmp_path: Path) -> None:
    from sekisho.config import load_core  # here, so that a fault in config fails this test and not the page

    for number, (_, language, text) in enumerate(blocks):
        if language == "toml":
            path = tmp_path / f"{number}.toml"
            path.write_text(text, encoding="utf-8")
            load_core(path)


def test_every_picture_is_sound_and_described(root: Path) -> None:
    for path in sorted((root / "docs").rglob("*.svg")):
        picture = ET.parse(path).getroot()  # noqa: S314 - our own file
        names = {child.tag.rpartition("}")[2] for child in picture}
        assert {"title", "desc"} <= names, path
        assert "script" not in names, path


def test_every_command_in_the_documents_exists(
    pages: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    from sekisho.cli.app import main  # as above

    mentioned = {
        (page, tuple(words.split()))
        for page, text in pages.items()
        for line in _code(text)
        for words in COMMAND.findall(line)
    }
    names = {"git", "files", "weather", "wordpress-handler"}  # plugins of the examples, not commands
    wanted: dict[tuple[str, ...], str] = {}
    for page, words in mentioned:
        command = tuple(word for word in words if word not in names)
        wanted[command] = page
    assert wanted
    for command, page in sorted(wanted.items()):
        status = main([*command, "--help"])
        assert status == 0, f"{page}: sekisho {' '.join(command)}: {capsys.readouterr().err[-300:]}"


def test_every_command_line_in_the_documents_is_one(pages: dict[str, str]) -> None:
    from sekisho.cli.app import app_for  # as above

    wrong = []
    for page, text in pages.items():
        for line in _console_lines(text):
            words = shlex.split(line.removeprefix("$ "), comments=True)
            start = next((at for at, word in enumerate(words) if Path(word).name == "sekisho"), None)
            if start is None or page.startswith("docs/decisions/"):
                continue
            typed = list(takewhile(lambda word: word not in SHELL, words[start + 1 :]))
            try:
                app_for(typed).parse_args(typed, exit_on_error=False, print_error=False)
            except CycloptsError as error:
                wrong.append(f"{page}: {line}: {error}")
    assert not wrong


def test_every_guide_says_where_to_go_next(pages: dict[str, str]) -> None:
    for page, text in pages.items():
        if page.startswith("docs/guides/") or page == "docs/tutorial.md":
            _, heading, rest = text.rpartition("\n## ")
            assert heading, page
            assert rest.startswith("Where next\n"), page
            assert LINK.search(rest), page


def _console_lines(text: str) -> list[str]:
    consoles = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in consoles for line in block.splitlines()]


def _code(text: str) -> list[str]:
    """The lines of console blocks, and the inline code of the prose."""
    lines = [line.partition("#")[0] for line in _console_lines(text)]
    return lines + re.findall(r"`([^`\n]+)`", FENCED.sub("", text))


def test_the_changelog_has_an_unreleased_section(pages: dict[str, str]) -> None:
    assert "\n## Unreleased\n" in pages["CHANGELOG.md"]


def test_decisions_are_numbered_without_a_gap(root: Path, pages: dict[str, str]) -> None:
    found = sorted(path.name for path in (root / "docs" / "decisions").glob("*.md"))
    assert [int(name[:4]) for name in found] == list(range(1, len(found) + 1))
    for name in found:
        assert pages[f"docs/decisions/{name}"].startswith(f"# {int(name[:4])}. "), name
