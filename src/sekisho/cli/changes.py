"""`sekisho changes NAME`: what a plugin wrote while its writes are collected, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, find_any, home_of, workload_of
from sekisho.cli.saying import columns, note, say, say_json
from sekisho.detect.hidden import visible
from sekisho.errors import Misconfigured

if TYPE_CHECKING:
    from sekisho.sandbox.drafts.changes import Change
    from sekisho.sandbox.drafts.draft import Draft, Drafts
    from sekisho.sandbox.drafts.shown import Content

__all__ = ["changes"]

MAX_SHOWN: Final = 1_000  # lines of the table
MAX_DIFFERENCES: Final = 50
_SIGNS: Final = {"added": "+", "changed": "~", "deleted": "-"}


def changes(
    name: Annotated[str, Parameter(help="The plugin's name.")],
    *,
    commit: Annotated[bool, Parameter(negative="", help="Keep them: all at once, or nothing.")] = False,
    rollback: Annotated[bool, Parameter(negative="", help="Throw them away.")] = False,
    force: Annotated[
        bool,
        Parameter(negative="", help="With --commit: put them over what somebody else changed meanwhile."),
    ] = False,
    digest: Annotated[
        str,
        Parameter(help="With --commit: keep them only if they are what was shown with this digest."),
    ] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> int:
    """Show what a plugin wrote, and keep it or throw it away (filesystem_policy.persist = "review").

    A plugin that runs is ended for either, and starts again by itself. Whatever interrupts a commit, the folders end
    as they were or as the plugin left them: the next command, or the plugin's next start, finishes it.
    """
    from sekisho.assembly.housing import drafts_of  # noqa: PLC0415 - not every command needs it
    from sekisho.assembly.places import Places  # noqa: PLC0415

    if (commit and rollback) or ((force or digest) and not commit):
        raise Misconfigured(
            "config_invalid",
            "these options contradict each other",
            remedy="type --commit [--force] [--digest DIGEST] or --rollback",
        )
    found = find_any(config)
    workload_of(found, name)  # or a refusal that names the plugins there are
    drafts = drafts_of(Places(home=home_of(found), config=config.absolute()), name)
    if commit or rollback:
        return _decide(name, drafts, commit=commit, force=force, digest=digest, json=json)
    return _show(name, drafts, json=json)


def _decide(name: str, drafts: Drafts, *, commit: bool, force: bool, digest: str, json: bool) -> int:
    from sekisho.sandbox.drafts.transaction import discard, keep  # noqa: PLC0415

    if not drafts.all():
        number = 0
    else:
        with drafts.turn():
            number = keep(drafts, force=force, seen=digest) if commit else discard(drafts)
    state = "kept" if commit else "discarded"
    if json:
        say_json({"plugin": name, "state": state, "number": number})
    elif commit:
        say([f"{name}: {_counted(number)} kept"])
    else:
        say([f"{name}: what it wrote is discarded"])
    return 0


@dataclass
class _Seen:
    """What there was to be shown, and its digest."""

    found: list[tuple[Draft, Change]]
    digest: str = ""
    differences: list[list[str]] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)
    left_out: int = 0


def _look(drafts: Drafts, *, json: bool) -> _Seen:
    from sekisho.sandbox.drafts.changes import changes_of  # noqa: PLC0415
    from sekisho.sandbox.drafts.difference import MAX_TEXT_BYTES  # noqa: PLC0415
    from sekisho.sandbox.drafts.shown import Shown, new_content_of  # noqa: PLC0415

    seen = _Seen([(draft, one) for draft in drafts.all() for one in changes_of(draft)])
    told = Shown()
    for draft, one in seen.found:
        # Read once: a plugin that goes on writing must not have one content shown and another one digested.
        content = new_content_of(draft, one, MAX_TEXT_BYTES)
        told.add(draft, one, content)
        if json:
            seen.rows.append(_as_json(draft, one, content))
        elif not _has_difference(one):
            continue
        elif len(seen.differences) < MAX_DIFFERENCES:
            seen.differences.append(list(_difference(draft, one, content)))
        else:
            seen.left_out += 1
    seen.digest = told.digest
    return seen


def _show(name: str, drafts: Drafts, *, json: bool) -> int:
    from sekisho.sandbox.drafts.transaction import settled  # noqa: PLC0415

    seen = settled(drafts, lambda: _look(drafts, json=json))
    found = seen.found
    if json:
        say_json({"plugin": name, "digest": seen.digest, "changes": seen.rows})
        return 0
    if not found:
        say([f"{name}: nothing written that waits for you"])
        return 0
    columns(
        ("", "path", "what", "mode", "size", "attention"),
        [_row(draft, one) for draft, one in found[:MAX_SHOWN]],
    )
    if len(found) > MAX_SHOWN:
        say([f"… and {len(found) - MAX_SHOWN} more (--json shows all)"])
    for lines in seen.differences:
        say(lines)
    if seen.left_out:
        say(["", f"… and the contents of {seen.left_out} more, not shown (--json has their digests)"])
    refused = sum(bool(one.refused) for _, one in found)
    conflicts = sum(one.conflict for _, one in found)
    note(f"{_counted(len(found))}, {refused} that may not be kept, {conflicts} in conflict")
    note(f"→ sekisho changes {name} --commit --digest {seen.digest}, or --rollback")
    return 0


def _row(draft: Draft, one: Change) -> tuple[str, ...]:
    kind = one.kind if one.was in (None, one.kind) else f"{one.was} → {one.kind}"
    mode = "" if one.what == "deleted" or one.kind == "link" else f"{one.mode:04o}"
    if one.what == "changed" and mode and one.old_mode not in (None, one.mode):
        mode = f"{one.old_mode:04o} → {mode}"
    attention = [
        one.refused and f"REFUSED: {one.refused}",
        one.conflict and "CONFLICT: changed meanwhile",
        one.note,
    ]
    return (
        _SIGNS[one.what],
        visible(f"{draft.folder}/{one.path}"),
        kind,
        mode,
        str(one.size) if one.kind == "file" else visible(f"→ {one.target}") if one.target else "",
        visible("; ".join(str(text) for text in attention if text)),
    )


def _as_json(draft: Draft, one: Change, content: Content | None) -> dict[str, object]:
    return {
        "folder": _text(draft.folder),
        "path": _text(one.path),
        "what": one.what,
        "kind": one.kind,
        "was": one.was,
        "mode": one.mode,
        "old_mode": one.old_mode,
        "size": one.size,
        "content": "" if content is None else content.digest,
        "target": _text(one.target),
        "refused": _text(one.refused),
        "conflict": one.conflict,
        "note": _text(one.note),
    }


def _text(name: str) -> str:
    """A name that is no UTF-8 cannot be printed; its bytes are shown."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _has_difference(one: Change) -> bool:
    return "file" in (one.kind, one.was) and (one.is_content_new or one.what == "deleted")


def _difference(draft: Draft, one: Change, content: Content | None) -> Iterator[str]:
    """The content of one file, old and new."""
    from sekisho.sandbox.drafts.difference import MAX_TEXT_BYTES, text_difference  # noqa: PLC0415
    from sekisho.sandbox.drafts.shown import content_of  # noqa: PLC0415

    old = content_of(draft.folder, one.path, MAX_TEXT_BYTES).data if one.was == "file" else b""
    new = b"" if content is None else content.data
    lines = None if old is None or new is None else text_difference(old, new)
    yield ""
    yield visible(f"{_SIGNS[one.what]} {draft.folder}/{one.path}")
    if lines is not None:
        yield from lines
    elif content is not None:
        yield f"{one.size} bytes, {content.digest}"


def _counted(number: int) -> str:
    return "1 change" if number == 1 else f"{number} changes"
