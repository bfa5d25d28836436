"""A sandbox's claim on the drafts of its plugin: taken before its walls are raised, given back at its end.

Guarantees that what was interrupted is finished or undone before the plugin sees its folders, and that two sandboxes
never write into one draft.
"""

from __future__ import annotations

import os
from pathlib import Path

from sekisho.errors import SekishoError
from sekisho.sandbox.drafts.draft import Drafts
from sekisho.sandbox.drafts.transaction import recover
from sekisho.sandbox.plans.spec import unavailable
from sekisho.sandbox.plans.staged import Staging

__all__ = ["claim", "give_back"]


def claim(staging: Staging) -> tuple[int, ...]:
    """Make the drafts ready; returns what holds them, to be closed when the sandbox has ended.

    Raises:
        Misconfigured: there is no place for them.
        Unavailable: they are used by somebody, or an interrupted change to a folder cannot be finished.
    """
    if not staging.drafts:
        return ()
    drafts = Drafts(Path(staging.drafts[0].draft).parent)
    held = drafts.take()
    try:
        recover(drafts)
        if os.fstat(held).st_size:  # whoever had them did not say that nothing of it is left
            drafts.wait_unmounted()
        os.pwrite(held, b"used", 0)
        for overlay in staging.drafts:
            drafts.of(overlay.path).make_ready(staging.owner)
    except SekishoError:
        os.close(held)
        raise
    except OSError as error:
        os.close(held)
        raise unavailable(
            f"the writes to {error.filename} cannot be collected: {error.strerror}", "mend that path"
        ) from error
    return (held,)


def give_back(held: tuple[int, ...], *, is_over: bool) -> None:
    """Let others have them; `is_over` when it is known that no process of the sandbox is left."""
    for fd in held:
        if is_over:
            os.ftruncate(fd, 0)
        os.close(fd)
