"""Puts what proves the log beside it: the leaf hashes first, then the signed checkpoint, `key.pub` once.

Guarantees: a checkpoint is replaced in one durable step, after the leaf hashes under it; it is never
made for records that are not on disk (the journal syncs first), so a power cut cannot leave a checkpoint
ahead of its log. Runs in a worker thread; decides nothing about when.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit.folder import folder_of, replace_file
from sekisho.audit.ledger import Leaves
from sekisho.audit.note import Checkpoint, open_checkpoint, sign_checkpoint, verifier_key

__all__ = ["Publisher"]


class Publisher:
    """Writes into the folder of one log, with the log's key."""

    def __init__(self, log: Path, key: Ed25519PrivateKey, origin: str) -> None:
        self.folder = folder_of(log)
        self._log = log
        self._key = key
        self._origin = origin

    def prepare(self) -> None:
        """Make the folder."""
        self.folder.root.mkdir(mode=0o700, exist_ok=True)

    def announce_key(self) -> None:
        """Write the public key into the folder, for readers who have learned its hash elsewhere."""
        line = verifier_key(self._origin, self._key.public_key()) + "\n"
        replace_file(self.folder.key, line.encode(), durable=False)

    def current(self) -> Checkpoint | None:
        """Return the checkpoint in force, or None when there never was one.

        Raises:
            Tampered: There is one, and it is not ours.
        """
        try:
            note = self.folder.checkpoint.read_bytes()
        except FileNotFoundError:
            return None
        return open_checkpoint(note, self._key.public_key(), origin=self._origin)

    def publish(self, checkpoint: Checkpoint, leaves: Leaves) -> None:
        """Write the leaf hashes, then the checkpoint over them."""
        self.folder.store(leaves)
        replace_file(self.folder.checkpoint, sign_checkpoint(checkpoint, self._key), durable=True)
