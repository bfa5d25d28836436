"""Nothing unfinished, pretended or bound to one machine stands in the tree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_LINES: Final = 600  # a table may be long; a subject that needs more is two subjects
TEXT: Final = {".py", ".md", ".toml", ".svg", ".yml", ".yaml", ".json", ".txt", ".cfg", ""}
SKIPPED: Final = {
    ".git", ".venv", ".cache", ".hypothesis", "__pycache__", "build", "dist", "node_modules", "LICENSE"
}  # fmt: skip
# Each word has a letter in brackets, so that this page may keep its own rule.
UNFINISHED: Final = re.compile(r"\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b")
# Lowering a limit (a name in capitals) replaces no function: the real code then runs at the smaller number.
PRETENDED: Final = re.compile(
    r"\bimport m[o]ck\b|unittest\.m[o]ck|\bm[o]cker\b|monkeypatch\.s[e]tattr\((?!\w+, \"[A-Z_]+\")"
)
MACHINE: Final = re.compile(
    r"(?<![\w./-])/(w[o]rk|r[o]ot|home/(?!you\b)\w+)/|(?<!\w)\.l[i]brary\b|/tmp/p[l]an"
)
# Modules whose answers are of one process and one moment.
CHANGING: Final = {"time", "random", "secrets", "uuid", "os", "tempfile", "datetime"}
# Where a banned word is the subject: the setting that bans it.
EXEMPT: Final = {
    ("pyproject.toml", "pretended"),
    ("tests/real/test_sandbox.py", "machine"),  # the attacks name the places that every Linux machine has
}


def _files(root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(part in SKIPPED or part.endswith("_cache") for part in parts)
        if path.is_file() and path.suffix in TEXT and not hidden:
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def _hits(root: Path, pattern: re.Pattern[str], subject: str) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in _files(root)
        if (name, subject) not in EXEMPT
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_nothing_is_left_unfinished(root: Path) -> None:
    assert not _hits(root, UNFINISHED, "unfinished")


def test_no_test_replaces_our_own_functions(root: Path) -> None:
    assert not _hits(root, PRETENDED, "pretended")


def test_no_file_names_a_path_of_one_machine(root: Path) -> None:
    assert not _hits(root, MACHINE, "machine")


def test_tests_are_named_the_same_in_every_process(root: Path) -> None:
    """Processes that share the tests out compare names, and run none when two differ."""
    changing = [
        f"{path.relative_to(root)}:{mark.lineno}"
        for path in sorted((root / "tests").rglob("*.py"))
        for mark in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(mark, ast.Call) and _ends_with(mark.func, "parametrize") and _names_differ(mark)
    ]
    assert not changing


def test_no_module_grows_beyond_one_subject(root: Path) -> None:
    source = root / "src" / "sekisho"
    long = [path.name for path in source.rglob("*.py") if len(path.read_text().splitlines()) > MAX_LINES]
    assert not long


def test_the_environment_is_read_by_the_command_line_alone(root: Path) -> None:
    source = root / "src" / "sekisho"
    readers = [
        path.relative_to(source).as_posix()
        for path in sorted(source.rglob("*.py"))
        if path.relative_to(source).parts[0] not in ("cli", "testing")
        # programs that are started without the command line: the children of `up`, and a worker inside the walls
        and path.relative_to(source).as_posix() not in ("assembly/__main__.py", "wasm/__main__.py")
        and _reads_environment(path)
    ]
    assert not readers


def _ends_with(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name


def _names_differ(mark: ast.Call) -> bool:
    """Whether names come of values that no two processes have alike: a clock's, a random one's, a set's order."""
    values = [*mark.args, *(given.value for given in mark.keywords if given.arg == "argvalues")]
    if any(isinstance(node, ast.Set | ast.SetComp) for node in values):
        return True
    named = next((given.value for given in mark.keywords if given.arg == "ids"), None)
    of_values = named is None or isinstance(named, ast.Name)
    return of_values and any(
        isinstance(node, ast.Name) and node.id in CHANGING for value in values for node in ast.walk(value)
    )


def _reads_environment(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("environ", "environb", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in ast.walk(tree)
    )
