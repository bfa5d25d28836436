"""The tests mirror the source: every module has its file, or stands in the table below with a reason."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

# Modules tested somewhere else than tests/unit/<room>/test_<module>.py: where, and why.
ELSEWHERE: Final[dict[str, tuple[str, str]]] = {
    "assembly/": (
        "tests/scenario",
        "it joins rooms; only the assembled house shows whether it joins them rightly",
    ),
    "detect/verdicts": ("tests/unit/detect", "values without behaviour; the tests of the scanner build them"),
    "errors": ("tests/house", "a table and its families; test_errors.py compares them with page and source"),
    "gateway/guest": (
        "tests/unit/gateway",
        "protocols without behaviour; a connection is tested in test_front.py",
    ),
    "gateway/stages": ("tests", "values without behaviour; the tests of checkpoint build every one"),
    "protocol/client_values": ("tests/unit/protocol", "values without behaviour; their readers build them"),
    "protocol/http_values": ("tests/unit/protocol", "values without behaviour; their readers build them"),
    "testing/": ("tests", "doubles are exercised by every test that uses them"),
    "install/installer": (
        "tests/real",
        "it drives real installers behind real walls; test_install.py lies to it",
    ),
    "install/stage": ("tests/real", "its promise is what a program behind walls cannot do"),
    "sandbox/launched/kinds": ("tests/real", "its promise is what the kernel refuses"),
    "sandbox/launched/driver": ("tests/real", "its promise is what the kernel refuses"),
}


def _modules(root: Path) -> list[str]:
    source = root / "src" / "sekisho"
    found = [path.relative_to(source).with_suffix("").as_posix() for path in sorted(source.rglob("*.py"))]
    return [name for name in found if not name.rpartition("/")[2].startswith("__")]


def _unit_test(root: Path, module: str) -> Path:
    room, _, name = module.rpartition("/")
    return root / "tests" / "unit" / room / f"test_{name}.py"


def test_every_module_has_its_test_file(root: Path) -> None:
    missing = [
        module
        for module in _modules(root)
        if not _unit_test(root, module).exists()
        and not any(module == name or (name.endswith("/") and module.startswith(name)) for name in ELSEWHERE)
    ]
    assert not missing, f"no unit test file for: {', '.join(missing)}"


def test_every_exception_points_at_tests_that_exist(root: Path) -> None:
    modules = _modules(root)
    for name, (folder, _reason) in ELSEWHERE.items():
        if any(module == name or module.startswith(name) for module in modules):
            assert list((root / folder).rglob("test_*.py")), f"{name}: {folder} holds no test"


def test_a_unit_test_file_names_a_module_that_exists(root: Path) -> None:
    unit = root / "tests" / "unit"
    modules = set(_modules(root))
    strays = []
    for path in sorted(unit.rglob("test_*.py")):
        room = path.parent.relative_to(unit).as_posix().removeprefix(".")
        module = f"{room}/{path.stem.removeprefix('test_')}".removeprefix("/")
        # A large subject may be split: test_front_limits.py belongs to front.
        parts = module.split("_")
        if not any("_".join(parts[:length]) in modules for length in range(1, len(parts) + 1)):
            strays.append(path.relative_to(root).as_posix())
    assert not strays


def test_a_face_holds_names_and_nothing_else(root: Path) -> None:
    for path in sorted((root / "src" / "sekisho").rglob("__init__.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path}: says nothing about its room"
        for statement in tree.body[1:]:
            is_name_list = isinstance(statement, ast.Assign | ast.AnnAssign)
            assert is_name_list or isinstance(statement, ast.Import | ast.ImportFrom), (
                f"{path}:{statement.lineno}"
            )


def test_every_module_says_what_it_guarantees(root: Path) -> None:
    source = root / "src" / "sekisho"
    silent = [
        module
        for module in _modules(root)
        if not ast.get_docstring(ast.parse((source / f"{module}.py").read_text(encoding="utf-8")))
    ]
    assert not silent
