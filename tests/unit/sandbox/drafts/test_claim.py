"""Before a plugin sees its folders, they are whole, and its drafts are its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekisho.errors import Misconfigured, Unavailable
from sekisho.sandbox.drafts.claim import claim, give_back
from sekisho.sandbox.drafts.draft import Drafts
from sekisho.sandbox.drafts.transaction import keep
from sekisho.sandbox.plans.staged import NOTHING, Overlay, Staging


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    """One draft."""
    folder = tmp_path.resolve() / "folder"
    folder.mkdir()
    draft = Drafts(tmp_path.resolve() / "drafts" / "p").of(str(folder))
    return Staging(overlays=(Overlay(path=str(folder), draft=str(draft.place)),))


def test_walls_without_drafts_claim_nothing() -> None:
    assert claim(NOTHING) == ()
    assert claim(Staging(overlays=(Overlay(path="/srv", size=1),))) == ()


def test_a_claim_makes_ready_and_keeps_others_out_until_it_is_given_back(
    staging: Staging, tmp_path: Path
) -> None:
    (held,) = claim(staging)
    (draft,) = Drafts(tmp_path.resolve() / "drafts" / "p").all()
    assert draft.upper.is_dir()
    with pytest.raises(Unavailable):
        claim(staging)
    os.close(held)
    (held,) = claim(staging)
    os.close(held)


def test_what_was_interrupted_is_finished_first(staging: Staging, tmp_path: Path) -> None:
    drafts = Drafts(tmp_path.resolve() / "drafts" / "p")
    os.close(claim(staging)[0])
    (draft,) = drafts.all()
    (draft.upper / "new").write_text("new")

    def step(name: str) -> None:
        if name == "apply":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(drafts, step=step)
    assert not Path(draft.folder, "new").exists()
    os.close(claim(staging)[0])
    assert Path(draft.folder, "new").read_text() == "new"
    assert list(draft.upper.iterdir()) == []


def test_a_claim_that_fails_is_given_back(staging: Staging, tmp_path: Path) -> None:
    folder = tmp_path.resolve() / "folder"
    folder.rmdir()
    with pytest.raises(Misconfigured, match="folder"):
        claim(staging)
    folder.mkdir()
    os.close(claim(staging)[0])


def test_what_was_given_back_without_an_end_is_looked_for(staging: Staging, tmp_path: Path) -> None:
    lock = tmp_path.resolve() / "drafts" / "p" / "lock"
    held = claim(staging)
    assert lock.stat().st_size
    give_back(held, is_over=False)
    assert lock.stat().st_size
    held = claim(staging)  # nobody has it mounted
    give_back(held, is_over=True)
    assert not lock.stat().st_size
