"""The empty image is the same for the same links, and belongs to nobody."""

from __future__ import annotations

import tarfile
from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st

from sekisho.sandbox.oci.frame import layer
from sekisho.sandbox.plans.spec import Link

NAMES = st.text("abcdefgh", min_size=1, max_size=8)
LINKS = st.dictionaries(NAMES, NAMES, max_size=5)


@given(links=LINKS, data=st.data())
def test_the_order_in_which_links_come_is_no_difference(links: dict[str, str], data: st.DataObject) -> None:
    made = [Link(path=f"/{path}", target=target) for path, target in links.items()]
    assert layer(made) == layer(data.draw(st.permutations(made)))


@given(links=LINKS)
def test_it_holds_the_links_and_nothing_of_anybody(links: dict[str, str]) -> None:
    with tarfile.open(
        fileobj=BytesIO(layer(Link(path=f"/{path}", target=to) for path, to in links.items()))
    ) as tar:
        members = tar.getmembers()
    assert {one.name: one.linkname for one in members if one.issym()} == links
    assert all(one.isdir() or one.issym() for one in members)
    assert all((one.uid, one.gid, one.mtime) == (0, 0, 0) for one in members)


def test_only_scratch_folders_may_be_written_by_anybody() -> None:
    with tarfile.open(fileobj=BytesIO(layer(()))) as tar:
        open_to_all = {one.name for one in tar if one.mode & 0o002}
    assert open_to_all == {"tmp", "home/plugin"}
