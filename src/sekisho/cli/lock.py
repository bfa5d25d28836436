"""`sekisho lock verify`: is the lock file as it was written, and are the approved definitions still there?"""

from __future__ import annotations

from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, find
from sekisho.cli.saying import columns, note, say, say_json
from sekisho.errors import SekishoError
from sekisho.registry import LockedPlugin, Shelf, load_lock

__all__ = ["verify"]


def verify(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """Check sekisho.lock and the stored definitions.

    Ends with 1 when the file was edited or a stored definition is not the approved one.
    """
    site = find(config)
    entries = load_lock(site.lock).plugins.values()  # raises when the text is not as written
    rows = [_row(Shelf(site.home), entry) for entry in entries]
    is_good = all(row["stored"] != "altered" for row in rows)
    if json:
        say_json({"ok": is_good, "lock": site.lock, "plugins": rows})
        return 0 if is_good else 1
    if rows:
        columns(tuple(rows[0]), [[str(cell) for cell in row.values()] for row in rows])
        say([f"{site.lock}: {'as written' if is_good else 'does not agree with what is stored'}"])
    else:
        note(f"{site.lock}: approves nothing")
    return 0 if is_good else 1


def _row(shelf: Shelf, entry: LockedPlugin) -> dict[str, str | int]:
    try:
        stored = "absent" if shelf.find(entry.name, entry.root) is None else "present"
    except SekishoError:
        stored = "altered"
    return {
        "plugin": entry.name,
        "definitions": len(entry.items),
        "root": entry.root,
        "stored": stored,
        "approved_by": entry.approved_by,
        "approved_at": entry.approved_at,
    }
