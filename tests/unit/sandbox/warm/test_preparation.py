"""Only what Python runs, and only where an import is saved, is prepared for a fork server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sekisho.policy.grants import Grants
from sekisho.sandbox import SandboxSpec, make_ready

if TYPE_CHECKING:
    pass


def test_only_commands_of_python_are_made_ready(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("import mcp\n")
    spec = SandboxSpec(name="p", argv=("x",), grants=Grants(), cwd=str(tmp_path))
    python = sys.executable
    assert make_ready(spec, ("/bin/cat",), ("json",)) is None
    assert make_ready(spec, (python, "s.py"), ()) is None  # nothing to import: nothing to gain
    assert make_ready(spec, (python, "-c", "x" * 70_000), ("json",)) is None
    (tmp_path / "plain.py").write_text("print()\n")
    assert make_ready(spec, (python, "plain.py"), None) is None
    ready = make_ready(spec, (python, "s.py"), None)
    assert ready is not None
    assert ready[0].warm is not None
    assert ready[0].warm.interpreter == (python,)
    assert (ready[0].argv, ready[0].grants) == (spec.argv, spec.grants)
    assert b"mcp.server" in ready[1]
