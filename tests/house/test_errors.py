"""Every error code is documented as it is, and every code the source raises exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

from sekisho import errors

ROW: Final = re.compile(r"^\| `(\w+)` \| (\d+) \| (-\d+) \| (.+) \|$", re.MULTILINE)
FAMILIES: Final = {
    name
    for name in errors.__all__
    if isinstance(getattr(errors, name), type) and issubclass(getattr(errors, name), errors.SekishoError)
}


def test_the_reference_equals_the_table(pages: dict[str, str]) -> None:
    rows = {
        row[0]: (int(row[1]), int(row[2]), row[3]) for row in ROW.findall(pages["docs/reference/errors.md"])
    }
    assert rows == {
        code: (info.http_status, info.rpc_code, info.remedy) for code, info in errors.CODES.items()
    }


def test_every_code_the_source_raises_exists(root: Path) -> None:
    for path in sorted((root / "src" / "sekisho").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(code)), *_]) if (
                    name in FAMILIES
                ):
                    assert code in errors.CODES, f"{path.name}:{node.lineno}: {code}"
                case _:
                    pass


def test_every_remedy_tells_what_to_do() -> None:
    for code, info in errors.CODES.items():
        assert info.remedy, code
        assert not info.remedy.endswith("."), code
