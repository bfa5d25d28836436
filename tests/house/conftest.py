"""What the house tests share: the documents, and the markers of all tests read without running any."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
FENCE: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the tree."""
    return ROOT


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """The text of every document, by its path from the top."""
    found = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in found}


@pytest.fixture(scope="session")
def blocks(pages: dict[str, str]) -> list[tuple[str, str, str]]:
    """Every fenced block as (page, language, text)."""
    return [(page, found[1], found[2]) for page, text in pages.items() for found in FENCE.finditer(text)]


@pytest.fixture(scope="session")
def marked() -> Callable[[str], dict[str, set[str]]]:
    """For one kind of marker: each value, and the tests that carry it as `path::name`."""
    found = [marker for path in sorted((ROOT / "tests").rglob("test_*.py")) for marker in _markers_of(path)]

    def of_kind(kind: str) -> dict[str, set[str]]:
        values: defaultdict[str, set[str]] = defaultdict(set)
        for its_kind, value, node in found:
            if its_kind == kind:
                values[value].add(node)
        return dict(values)

    return of_kind


def _markers_of(path: Path) -> Iterator[tuple[str, str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inherited = [mark for statement in tree.body for mark in _marks_of_the_module(statement)]
    yield from _walk(tree.body, path.relative_to(ROOT).as_posix(), inherited)


def _walk(body: list[ast.stmt], name: str, inherited: list[ast.expr]) -> Iterator[tuple[str, str, str]]:
    for statement in body:
        match statement:
            case ast.ClassDef() if statement.name.startswith("Test"):
                marks = [*inherited, *statement.decorator_list]
                yield from _walk(statement.body, f"{name}::{statement.name}", marks)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if statement.name.startswith("test_"):
                for mark in [*inherited, *statement.decorator_list]:
                    yield from _read(mark, f"{name}::{statement.name}")
            case _:
                pass


def _marks_of_the_module(statement: ast.stmt) -> list[ast.expr]:
    match statement:
        case ast.Assign(
            targets=[ast.Name(id="pytestmark")], value=ast.List(elts=marks) | ast.Tuple(elts=marks)
        ):
            return marks
        case ast.Assign(targets=[ast.Name(id="pytestmark")], value=mark):
            return [mark]
        case _:
            return []


def _read(mark: ast.expr, node: str) -> Iterator[tuple[str, str, str]]:
    match mark:
        case ast.Call(func=ast.Attribute(attr=kind), args=values):
            for value in values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield kind, value.value, node
        case _:
            return
