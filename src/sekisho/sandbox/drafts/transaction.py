"""Keeping what a plugin wrote: all of it, or nothing.

How
1. `preparing`: everything new is copied into a fresh folder inside each granted one (the same file system), and is
   made durable there (`copies`). Until here the old state stands, and recovery removes the copies.
2. `ready`: a journal that names every step is made durable (`journal`). From here on the new state is
   certain: recovery carries the steps out again, and each of them may be carried out twice (`steps`).
3. `applied`: all steps are done and durable; the draft is emptied, then the journal goes.

What is discarded is `discarding` in the journal until every draft is empty, so that none is left for a later yes.

Guarantees
- whoever is let in after recovery sees the old state or the new one; every command about drafts and every start of the
  plugin recovers first;
- the steps of all folders follow each other without a pause, and no signal that asks for an end comes between them: only
  a kill, a crash of the machine or a folder that fails can leave some of them done, until recovery;
- what is kept are copies that belong to us, or to the folder's owner: nothing the plugin still holds open, no set-uid
  or set-gid bit, no second name of another file, no extended attribute;
- no step follows a link or leaves the folder (`beneath`); a link that leads out, or a device, is never kept;
- what somebody looked at is kept as it was seen, or not at all, when its digest is given: the copies have it;
- a file that somebody else changed meanwhile is not touched unless that is forced; one that somebody puts into a folder
  while it is being removed stays, and the folder with it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from sekisho.errors import Refused, Unavailable
from sekisho.launcher.kernel import libc
from sekisho.sandbox.drafts.beneath import opened
from sekisho.sandbox.drafts.changes import Change, changes_of
from sekisho.sandbox.drafts.copies import Step, prepared
from sekisho.sandbox.drafts.draft import LOOK_S, TURN_S, Drafts
from sekisho.sandbox.drafts.journal import Root, read_journal, remove_journal, write_journal
from sekisho.sandbox.drafts.shown import Shown, digest_of
from sekisho.sandbox.drafts.steps import carry_out

__all__ = ["Step", "discard", "keep", "recover", "settled"]

_T = TypeVar("_T")
_PAUSE: Final = threading.Event()  # nobody sets it: what is waited for has no event
PATIENT: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})


def keep(drafts: Drafts, *, force: bool = False, seen: str = "", step: Step = lambda name: None) -> int:
    """Make what the plugin wrote the state of its folders; returns how many changes that were.

    Call it while the drafts are yours (`Drafts.turn`). `seen` is the digest of what somebody looked at (`shown`).

    Raises:
        Refused: something may not be kept, or is not what was seen, or somebody else changed the same thing; nothing
            was changed.
        Unavailable: a folder cannot be reached or written; nothing was changed.
    """
    recover(drafts, step=step)
    found = [(draft, changes_of(draft)) for draft in drafts.all()]
    if seen and digest_of(found) != seen:
        raise _written_on()
    found = [(draft, changes) for draft, changes in found if changes]
    if not found:
        return 0
    _refuse_what_cannot_stay([one for _, changes in found for one in changes], force=force)
    plain = [Root.begin(draft.folder) for draft, _ in found]
    write_journal(drafts, "preparing", plain)
    copied = Shown()
    try:
        roots = [
            prepared(draft, changes, root, step, copied)
            for (draft, changes), root in zip(found, plain, strict=True)
        ]
        if seen and copied.digest != seen:  # by whoever holds a file or folder of the draft open, wherever
            recover(drafts)
            raise _written_on()
        step("journal")
        write_journal(drafts, "ready", roots)
    except OSError as error:
        recover(drafts)
        raise Unavailable(
            "changes_unavailable", f"a copy could not be made: {error.strerror} ({error.filename})"
        ) from error
    _finish(drafts, roots, step)
    return sum(len(changes) for _, changes in found)


def discard(drafts: Drafts, *, step: Step = lambda name: None) -> int:
    """Throw away what the plugin wrote, in all its folders; returns how many drafts that were."""
    recover(drafts)
    number = len(drafts.all())
    if not number:
        return 0
    # On a full disk it is done without: then somebody wants to make room, and discarded in part can be discarded again.
    with contextlib.suppress(OSError):
        write_journal(drafts, "discarding", ())
    _discard(drafts, step)
    return number


def recover(drafts: Drafts, *, step: Step = lambda name: None) -> bool:
    """Finish, or undo, what was interrupted; False when there was nothing.

    Raises:
        Unavailable: a folder of it cannot be reached now; nothing else may be done before it can.
    """
    state, roots = read_journal(drafts)
    match state:
        case "":
            return False
        case "preparing":
            for root in roots:
                root.remove_stage()
            remove_journal(drafts)
        case "ready":
            _finish(drafts, roots, step)
        case "applied":
            _clear(drafts, roots, step)
        case "discarding":
            _discard(drafts, step)
        case _:  # another version's, perhaps: whether a draft may be emptied is not guessed
            raise Unavailable(
                "changes_unavailable", f"the journal has a state that is unknown: {state[:40]!r}"
            )
    return True


def settled(drafts: Drafts, read: Callable[[], _T]) -> _T:
    """What `read` finds in the drafts and their folders, none of it while somebody's steps are under way.

    What was interrupted is finished or undone first. A plugin that runs is left alone: it recovered before it began.

    Raises:
        Unavailable: what was interrupted cannot be finished, or somebody goes on keeping without end.
    """
    deadline = time.monotonic() + TURN_S
    while time.monotonic() < deadline:
        before = _stamp(drafts)
        state = before[1]
        if state and _recovered_now(drafts):
            continue
        if state not in ("", "preparing"):
            _PAUSE.wait(LOOK_S)
            continue
        try:
            found = read()
        except (OSError, Unavailable):
            if _stamp(drafts) == before:
                raise
            continue
        if _stamp(drafts) == before:
            return found
    raise Unavailable("changes_unavailable", "what it wrote is being kept just now", remedy="type it again")


def _recovered_now(drafts: Drafts) -> bool:
    try:
        held = drafts.take()
    except Unavailable:  # by whoever keeps or recovers them now
        return False
    try:
        drafts.wait_unmounted()
        return recover(drafts)
    finally:
        os.close(held)


def _stamp(drafts: Drafts) -> tuple[int, str]:
    """Another one after each word of the journal: all of them are renamed into the same folder.

    Two words within one tick of the kernel's clock have the same time, but they are not the same word.
    """
    try:
        moved = drafts.place.stat().st_mtime_ns
    except FileNotFoundError:
        moved = 0
    return moved, read_journal(drafts)[0]


def _written_on() -> Refused:
    return Refused(
        "changes_refused",
        "what it wrote is not what was shown: it went on writing",
        remedy="look again: sekisho changes NAME",
    )


def _refuse_what_cannot_stay(changes: Sequence[Change], *, force: bool) -> None:
    refused = [one for one in changes if one.refused]
    if refused:
        raise Refused(
            "changes_refused",
            f"{refused[0].path!r} may not be kept: {refused[0].refused}"
            + (f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""),
            remedy="discard what it wrote with --rollback, or let the plugin remove it",
        )
    conflicts = [one for one in changes if one.conflict]
    if conflicts and not force:
        raise Refused(
            "changes_refused",
            f"{conflicts[0].path!r} was changed by somebody else meanwhile"
            + (f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""),
            remedy="compare them, then type --force to put the plugin's version in its place",
        )


# Finishing: each step may have been carried out before.


def _finish(drafts: Drafts, roots: Sequence[Root], step: Step) -> None:
    try:
        _apply(roots, step)
    except OSError as error:
        raise Unavailable(
            "changes_unavailable",
            f"what was begun to be kept cannot be finished: {error.strerror} ({error.filename})",
            remedy="mend that, then type it again: it goes on where it stopped",
        ) from error
    step("applied")
    write_journal(drafts, "applied", roots)
    _clear(drafts, roots, step)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """What asks us to end waits until it is done: half of the steps are nobody's state, and all of them take a moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PATIENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _apply(roots: Sequence[Root], step: Step) -> None:
    """All steps of all folders one right after the other; then they are made durable, which may take seconds."""
    with contextlib.ExitStack() as stack:
        # Before the first step: one that cannot be reached stops everything, and a step may close one to us.
        lowers = [stack.enter_context(opened(root.open())) for root in roots]
        with _undisturbed():
            for root, lower in zip(roots, lowers, strict=True):
                for one in root.steps:
                    step("apply")
                    carry_out(lower, root.stage, one)
        for root, lower in zip(roots, lowers, strict=True):
            if libc.syncfs(lower) != 0:
                raise OSError(errno.EIO, "what was written cannot be made durable", root.folder)


def _clear(drafts: Drafts, roots: Sequence[Root], step: Step) -> None:
    for root in roots:
        step("clear")
        root.remove_stage()
        drafts.of(root.folder).empty()
    step("done")
    remove_journal(drafts)


def _discard(drafts: Drafts, step: Step) -> None:
    for draft in drafts.all():
        step("discard")
        draft.empty()
    step("discarded")
    remove_journal(drafts)
