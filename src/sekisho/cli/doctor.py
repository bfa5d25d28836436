"""`sekisho doctor`: tries, rather than looks up, what this machine can enforce."""

from __future__ import annotations

from dataclasses import asdict

from sekisho.cli.finding import Json
from sekisho.cli.saying import columns, note, say_json
from sekisho.sandbox import doctor as examine

__all__ = ["doctor"]


def doctor(*, json: Json = False) -> int:
    """Try what this machine can enforce.

    Ends with 1 when a wall is missing; each row says how to mend it.
    """
    rows = examine()
    is_good = all(row.ok for row in rows)
    if json:
        say_json({"ok": is_good, "rows": [asdict(row) for row in rows]})
        return 0 if is_good else 1
    columns(("what", "ok", "detail"), [(row.what, "yes" if row.ok else "NO", row.detail) for row in rows])
    for row in rows:
        if not row.ok:
            note(f"→ {row.what}: {row.fix}")
    return 0 if is_good else 1
