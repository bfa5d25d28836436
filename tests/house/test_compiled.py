"""What is compiled keeps its meaning: mypyc drops, without a word, what it does not know of a class.

`class A(Struct, frozen=True)` in a compiled module would be a class that anybody may change. So values stand in modules
that are interpreted, and compiled ones hold functions, plain classes, dataclasses, named tuples, protocols and enums.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dev import COMPILED_TESTS

KNOWN_BASES: Final = {"Enum", "Exception", "Generic", "IntEnum", "NamedTuple"}
KNOWN_DECORATORS: Final = {"dataclass"}


def _listed(root: Path) -> list[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    modules = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
    assert isinstance(modules, list)
    return modules


def _classes(path: Path) -> Iterator[ast.ClassDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def _methods(one: ast.ClassDef) -> set[str]:
    return {node.name for node in one.body if isinstance(node, ast.FunctionDef)}


def _are_known(bases: set[str]) -> bool:
    return "Protocol" in bases or bases <= KNOWN_BASES  # a protocol is there for mypy alone


def _word(node: ast.expr) -> str:
    if isinstance(node, ast.Call | ast.Subscript):
        return _word(node.func if isinstance(node, ast.Call) else node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else "?"


def test_each_is_listed_once_in_order_and_exists(root: Path) -> None:
    listed = _listed(root)
    assert listed == sorted(set(listed))
    assert all(_path(root, name).exists() for name in listed)


def test_none_defines_a_class_that_compiling_would_change(root: Path) -> None:
    wrong = [
        f"{name}.{one.name}"
        for name in _listed(root)
        for one in _classes(_path(root, name))
        if one.keywords
        or not _are_known({_word(base) for base in one.bases})
        or {_word(decorator) for decorator in one.decorator_list} - KNOWN_DECORATORS
    ]
    assert not wrong, f"these belong into a module of values: {', '.join(wrong)}"


def test_none_deletes_a_name_where_the_compiler_cannot(root: Path) -> None:
    wrong = [
        f"{name}: line {one.lineno}"
        for name in _listed(root)
        for function in ast.walk(ast.parse(_path(root, name).read_text(encoding="utf-8")))
        if isinstance(function, ast.AsyncFunctionDef)
        or (
            isinstance(function, ast.FunctionDef)
            and any(isinstance(one, ast.Yield | ast.YieldFrom) for one in ast.walk(function))
        )
        for one in ast.walk(function)
        if isinstance(one, ast.Delete) and any(isinstance(target, ast.Name) for target in one.targets)
    ]
    assert not wrong, f"a coroutine or generator with `del` compiles nothing at all: {', '.join(wrong)}"


def test_what_is_interpreted_inherits_from_none_of_them(root: Path) -> None:
    listed = {_path(root, name) for name in _listed(root)}
    compiled = {one.name for path in listed for one in _classes(path) if not one.bases}
    heirs = [
        f"{path.name}: {one.name}"
        for path in sorted((root / "src").rglob("*.py"))
        if path not in listed
        for one in _classes(path)
        if compiled & {_word(base) for base in one.bases}
    ]
    assert not heirs, f"an interpreted class cannot inherit from a compiled one: {', '.join(heirs)}"


def test_what_an_event_loop_reads_into_hears_all_that_it_tells(root: Path) -> None:
    """asyncio's base class has these; a class without a base must have its own, or the loop stumbles."""
    told = {"eof_received", "pause_writing", "resume_writing"}
    only_reads = {"_Stdout", "_Stderr"}  # of a pipe
    deaf = [
        f"{path.name}: {one.name}"
        for path in sorted((root / "src").rglob("*.py"))
        for one in _classes(path)
        if not one.bases
        and {"data_received", "connection_lost"} <= (methods := _methods(one))
        and not (told if one.name not in only_reads else {"eof_received"}) <= methods
    ]
    assert not deaf, f"these lack one of {told}: {', '.join(deaf)}"


def test_their_rooms_are_tested_as_they_are_installed(root: Path) -> None:
    rooms = {name.partition(".")[0] for name in _listed(root)} - {"assembly"}  # no unit tests of its own
    assert rooms <= {path.rpartition("/")[2] for path in COMPILED_TESTS}


def _path(root: Path, name: str) -> Path:
    return root / "src" / "sekisho" / f"{name.replace('.', '/')}.py"
