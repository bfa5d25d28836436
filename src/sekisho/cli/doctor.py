"""`sekisho doctor`: tries, rather than looks up, what this machine can enforce and what `[auth]` needs of others."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from sekisho.cli.compiled import examine_build
from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, find_any
from sekisho.cli.saying import columns, note, say, say_json
from sekisho.config import CoreConfig
from sekisho.errors import SekishoError
from sekisho.sandbox import APPARMOR_PROFILE, Row
from sekisho.sandbox import doctor as examine

__all__ = ["doctor"]


def doctor(
    *,
    apparmor_profile: Annotated[
        bool,
        Parameter(negative="", help="Print the AppArmor profile that Ubuntu 24.04 needs, and nothing else."),
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> int:
    """Try what this machine can enforce, and ask the authorization servers of the core file.

    Ends with 1 when no driver gives isolation = "strict", a limit has no control group, or an issuer does not answer;
    each row says how to mend it.
    """
    if apparmor_profile:
        say(APPARMOR_PROFILE.rstrip("\n").split("\n"))
        return 0
    rows = (*examine(os.environ), examine_build(), *_configured(config))
    is_good = all(row.ok for row in rows if row.needed)
    if json:
        say_json({"ok": is_good, "rows": [asdict(row) for row in rows]})
        return 0 if is_good else 1
    columns(("what", "ok", "detail"), [(row.what, "yes" if row.ok else "NO", row.detail) for row in rows])
    for row in rows:
        if not row.ok:
            note(f"→ {row.what}: {row.fix}")
    return 0 if is_good else 1


def _configured(config: ConfigFile) -> tuple[Row, ...]:
    """What the core file asks for; without one there is nothing to try."""
    if config == DEFAULT_CONFIG and not config.exists():
        return ()
    try:
        found = find_any(config)
    except SekishoError as error:
        return (Row(what="configuration", ok=False, detail=error.message, fix=error.remedy),)
    from sekisho.assembly.checkup import examine_auth  # noqa: PLC0415 - most machines have no issuers

    return examine_auth(found) if isinstance(found, CoreConfig) else ()
