"""Signed notes and checkpoints in the C2SP formats (signed-note, tlog-checkpoint), Ed25519 only.

Guarantees: `open_checkpoint` accepts exactly one byte string for one signed statement. The text is rebuilt
from what was parsed and must be equal byte for byte, so a changed base64 padding bit, key name, line end or
leading zero is noticed although the signature itself would still verify. Exactly one signature line is
accepted: what nobody checks must not stand in a file that people believe. Knows no file and no clock. Other
tools read the same bytes: Go's `sumdb/note`, and `openssl pkeyutl` for the bare signature.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sekisho.errors import Misconfigured, Tampered

__all__ = [
    "Checkpoint",
    "check_origin",
    "open_checkpoint",
    "read_verifier_key",
    "sign_checkpoint",
    "verifier_key",
]

MAX_NOTE_BYTES: Final = 4096  # a checkpoint has five lines; a longer file is not read as one
MAX_SIZE: Final = (1 << 63) - 1  # C2SP tlog-checkpoint: sizes fit a signed 64-bit number
_ED25519: Final = b"\x01"  # the algorithm byte of signed-note
_DASH: Final = "\u2014"  # the signature line starts with an em dash


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log states about itself: under `origin`, the first `size` records have the tree `root`."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the note text that is signed."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"


def check_origin(origin: str) -> str:
    """Return `origin` if it can name a log; it doubles as key name, which allows neither spaces nor plus."""
    if (
        not origin
        or len(origin) > 255
        or "+" in origin
        or any(c.isspace() or not c.isprintable() for c in origin)
    ):
        raise Misconfigured(
            "config_invalid",
            f"{origin!r} cannot name a log",
            remedy="use a name such as gateway.example.com/audit, without spaces or plus",
        )
    return origin


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> bytes:
    """Return the signed note of a checkpoint."""
    text = checkpoint.text()
    signature = key.sign(text.encode())
    return _render(checkpoint, _key_hash(checkpoint.origin, key.public_key()) + signature)


def open_checkpoint(note: bytes, key: Ed25519PublicKey, *, origin: str | None = None) -> Checkpoint:
    """Return the checkpoint that `key` signed.

    Args:
        origin: The log that is expected; None accepts any log of this key.

    Raises:
        Tampered: The bytes are not exactly a checkpoint of this key.
    """
    try:
        checkpoint, blob = _parse(note)
    except (ValueError, binascii.Error) as problem:
        raise Tampered("log_tampered", f"the checkpoint is not a signed note: {problem}") from problem
    if origin is not None and checkpoint.origin != origin:
        raise Tampered("log_tampered", f"the checkpoint belongs to {checkpoint.origin!r}, not to {origin!r}")
    if blob[:4] != _key_hash(checkpoint.origin, key):
        raise Tampered("log_tampered", "the checkpoint is signed by another key")
    try:
        key.verify(blob[4:], checkpoint.text().encode())
    except InvalidSignature as problem:
        raise Tampered("log_tampered", "the signature of the checkpoint does not verify") from problem
    return checkpoint


def verifier_key(origin: str, key: Ed25519PublicKey) -> str:
    """Return the public key as one line, in the form that Go's `note.NewVerifier` reads."""
    return f"{origin}+{_key_hash(origin, key).hex()}+{_b64(_ED25519 + key.public_bytes_raw())}"


def read_verifier_key(line: str) -> tuple[str, Ed25519PublicKey]:
    """Return origin and key from a verifier key line.

    Raises:
        Misconfigured: The line is not a verifier key, or its checksum is wrong.
    """
    try:
        origin, _, encoded = line.strip().split("+", 2)
        blob = base64.b64decode(encoded, validate=True)
        if len(blob) != 33 or blob[:1] != _ED25519:
            raise ValueError("not an Ed25519 key")
        key = Ed25519PublicKey.from_public_bytes(blob[1:])
        if verifier_key(origin, key) != line.strip():
            raise ValueError("its checksum is wrong")
    except ValueError as problem:
        raise Misconfigured("key_unavailable", f"this is not a verifier key: {problem}") from problem
    return origin, key


def _parse(note: bytes) -> tuple[Checkpoint, bytes]:
    if len(note) > MAX_NOTE_BYTES:
        raise ValueError("too long")
    lines = note.decode("utf-8").split("\n")
    if len(lines) != 6:
        raise ValueError("not five lines")
    origin, size, root, _, signature, _ = lines
    _, _, encoded = signature.rpartition(" ")
    if not (size.isascii() and size.isdecimal() and len(size) <= 19):
        raise ValueError("no size")
    checkpoint = Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
    blob = base64.b64decode(encoded, validate=True)
    if not origin or len(checkpoint.root) != 32 or len(blob) != 68 or checkpoint.size > MAX_SIZE:
        raise ValueError("a field has the wrong length")
    if _render(checkpoint, blob) != note:  # one statement, one spelling
        raise ValueError("not in canonical form")
    return checkpoint, blob


def _render(checkpoint: Checkpoint, blob: bytes) -> bytes:
    return f"{checkpoint.text()}\n{_DASH} {checkpoint.origin} {_b64(blob)}\n".encode()


def _key_hash(origin: str, key: Ed25519PublicKey) -> bytes:
    return sha256(origin.encode() + b"\n" + _ED25519 + key.public_bytes_raw()).digest()[:4]


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
