"""Receipts: that one record is in the signed log, checkable by somebody who has neither the log nor this
program.

The text is C2SP tlog-proof: index, Merkle path, signed checkpoint. Guarantees: `check_proof` accepts exactly
one spelling of a proof, and only for the very bytes of the record.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sekisho.audit.folder import folder_of
from sekisho.audit.lines import read_records, unreadable
from sekisho.audit.note import Checkpoint, open_checkpoint
from sekisho.audit.tree import inclusion_proof, leaf_hash, root_of, verify_inclusion
from sekisho.errors import Refused, Tampered

__all__ = ["check_proof", "prove", "record_at"]

_HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES: Final = 16_384  # 63 hashes and a checkpoint are far below; longer is not a proof


def prove(path: Path, key: Ed25519PublicKey, index: int) -> str:
    """Return the proof that record `index` is under the current checkpoint of the log at `path`.

    Raises:
        Refused: There is no such record, or no checkpoint covers it yet.
        Tampered: The log does not add up to its checkpoint.
        Unavailable: The log cannot be read.
    """
    try:
        note = folder_of(path).checkpoint.read_bytes()
        checkpoint = open_checkpoint(note, key)
        if not 0 <= index < checkpoint.size:
            raise Refused(
                "params_invalid",
                f"the checkpoint covers {checkpoint.size} records, and {index} is not one of them",
                remedy="name a record under the checkpoint; a new one is signed within a second",
            )
        leaves: list[bytes] = []
        with path.open("rb") as file:
            for record, whole in read_records(file):
                if not whole or len(leaves) == checkpoint.size:
                    break
                leaves.append(leaf_hash(record))
    except OSError as problem:
        raise unreadable(path, problem) from problem
    if len(leaves) != checkpoint.size or root_of(leaves) != checkpoint.root:
        raise Tampered("log_tampered", "the records are not the ones that were signed")
    return _render(index, inclusion_proof(leaves, index), note.decode())


def record_at(path: Path, index: int) -> bytes:
    """Return the bytes of record `index`, the ones a proof speaks about.

    Raises:
        Refused: The log has no such record.
        Unavailable: The log cannot be read.
    """
    try:
        with path.open("rb") as file:
            for at, (record, whole) in enumerate(read_records(file)):
                if at == index and whole:
                    return record
    except OSError as problem:
        raise unreadable(path, problem) from problem
    raise Refused("params_invalid", f"the log has no record {index}")


def check_proof(proof: str, record: bytes, key: Ed25519PublicKey, *, origin: str | None = None) -> Checkpoint:
    """Return the checkpoint under which `record` is proved to be logged.

    Raises:
        Tampered: The proof does not hold for this record and key.
    """
    try:
        index, path, note = _parse(proof)
    except (ValueError, binascii.Error) as problem:
        raise Tampered("log_tampered", f"this is not a proof: {problem}") from problem
    checkpoint = open_checkpoint(note.encode(), key, origin=origin)
    if not verify_inclusion(
        leaf=leaf_hash(record), index=index, size=checkpoint.size, proof=path, root=checkpoint.root
    ):
        raise Tampered("log_tampered", f"the proof does not show this record as number {index}")
    return checkpoint


def _render(index: int, path: list[bytes], note: str) -> str:
    hashes = "".join(f"{base64.b64encode(node).decode()}\n" for node in path)
    return f"{_HEADER}\nindex {index}\n{hashes}\n{note}"


def _parse(proof: str) -> tuple[int, list[bytes], str]:
    if len(proof) > MAX_PROOF_BYTES:
        raise ValueError("too long")
    head, _, note = proof.partition("\n\n")
    lines = head.split("\n")
    if len(lines) < 2 or not lines[1].removeprefix("index ").isdecimal():
        raise ValueError("no index")
    index = int(lines[1].removeprefix("index "))
    path = [base64.b64decode(line, validate=True) for line in lines[2:]]
    if any(len(node) != 32 for node in path) or _render(index, path, note) != proof:
        raise ValueError("not in canonical form")
    return index, path, note
