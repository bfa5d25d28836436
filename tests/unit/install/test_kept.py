"""The digest proves the receipt, the receipt proves lock and list; one changed byte anywhere is noticed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sekisho.errors import Misconfigured, Tampered
from sekisho.install.kept import Kept, Receipt, entries_of, open_kept
from sekisho.install.manifest import Entry, digests_of, write_manifest

ENTRY = Entry(kind="f", path="file", size=3, digests=digests_of(b"abc"))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """A tree as the store writes one, without its files."""
    manifest, lock = write_manifest((ENTRY,)), b"lock\n"
    digests = digests_of(manifest)
    receipt = Receipt(
        package="npm:x@1",
        entry="x",
        command=("{node}", "{tree}/file"),
        lock_name="package-lock.json",
        lock_sha256=digests_of(lock).sha256,
        tree_sha256=digests.sha256,
        tree_blake2b=digests.blake2b,
        files=1,
        bytes=3,
        packages=1,
        runtime="node",
    )
    content = msgspec.json.encode(receipt)
    digest = digests_of(content).sha256
    folder = tmp_path / digest
    folder.mkdir()
    for name, data in (("receipt.json", content), ("manifest", manifest), ("package-lock.json", lock)):
        (folder / name).write_bytes(data)
    return Kept(digest=digest, folder=folder, receipt=receipt)


def test_what_is_whole_is_opened(kept: Kept) -> None:
    found = open_kept(kept.folder.parent, kept.digest)
    assert found == kept
    assert (found.lock, entries_of(found)) == (b"lock\n", (ENTRY,))


@pytest.mark.parametrize("name", ["receipt.json", "manifest", "package-lock.json"])
def test_one_changed_byte_is_noticed_wherever_it_is(kept: Kept, name: str) -> None:
    path = kept.folder / name
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(Tampered):
            entries_of(open_kept(kept.folder.parent, kept.digest))


def test_a_tree_that_is_not_here_is_missing(kept: Kept) -> None:
    with pytest.raises(Misconfigured) as caught:
        open_kept(kept.folder.parent, "1" * 64)
    assert caught.value.code == "package_missing"
