"""Message seals on top of TLS: an epoch secret by HPKE, then numbered AES-256-GCM records.

- `offer` and `accept`: RFC 9180 base mode, X25519 / HKDF-SHA256 / AES-256-GCM. Only the holder of the
  pinned private key learns the secret. Base mode does not name the sender: mutual TLS and the channel token
  do that.
- `SealPair`: one key per direction, derived with a salt the *receiver* chose, so a recorded epoch cannot be
  replayed. The nonce is the record's number and is never sent: a replayed, dropped, reordered or shortened
  record fails.
- A pair seals at most 2**32 records, far below the bound where AES-GCM weakens; the channel is renewed
  before.

After one failure a pair refuses everything: a channel that was touched once is not trusted again.
"""

from __future__ import annotations

import secrets
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sekisho.errors import LocalProtocolError, Misconfigured, Tampered

__all__ = ["MAX_RECORDS", "SealPair", "accept", "offer"]

MAX_RECORDS: Final = 1 << 32
SECRET_BYTES: Final = 32
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_CORE_TO_PLUGIN: Final = b"sekisho seal 1 core to plugin"
_PLUGIN_TO_CORE: Final = b"sekisho seal 1 plugin to core"


def offer(recipient_public: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Draw an epoch secret and seal it to the recipient's X25519 key: `(enc, secret)`."""
    try:
        public = X25519PublicKey.from_public_bytes(recipient_public)
    except ValueError as error:
        raise Misconfigured("key_unavailable", "the peer's HPKE key is not 32 bytes of X25519") from error
    secret = secrets.token_bytes(SECRET_BYTES)
    try:
        return _SUITE.encrypt(secret, public, info), secret
    except ValueError as error:  # a low-order point, which would make the secret public
        raise Misconfigured("key_unavailable", "the peer's HPKE key is not a usable X25519 key") from error


def accept(private: X25519PrivateKey, enc: bytes, info: bytes) -> bytes:
    """Open an offer made to us for exactly this `info`; raises `Tampered`."""
    try:
        secret = _SUITE.decrypt(enc, private, info)
    except (InvalidTag, ValueError) as error:
        raise Tampered("seal_broken", "the epoch offer does not open: wrong key, context or bytes") from error
    if len(secret) != SECRET_BYTES:
        raise Tampered("seal_broken", "the epoch offer holds no 32-byte secret")
    return secret


class SealPair:
    """Both directions of one epoch, seen from one end."""

    __slots__ = ("_opener", "_opener_number", "_sealer", "_sealer_number")

    def __init__(self, *, secret: bytes, salt: bytes, role: Literal["core", "plugin"]) -> None:
        if len(secret) != SECRET_BYTES or len(salt) < 16:
            raise LocalProtocolError("internal", "a seal needs a 32-byte secret and a salt")
        ways = (_CORE_TO_PLUGIN, _PLUGIN_TO_CORE) if role == "core" else (_PLUGIN_TO_CORE, _CORE_TO_PLUGIN)
        self._sealer = _cipher(secret, salt, ways[0])
        self._opener = _cipher(secret, salt, ways[1])
        self._sealer_number = 0
        self._opener_number = 0

    @property
    def records(self) -> int:
        """How many records the busier direction has carried."""
        return max(self._sealer_number, self._opener_number)

    def seal(self, plaintext: bytes, aad: bytes | None = None) -> bytes:
        """Seal the next record of our direction."""
        return self._sealer.encrypt(self._next_nonce(), plaintext, aad)

    def seal_into(self, plaintext: bytes | memoryview, place: memoryview) -> None:
        """The same, written where it fits exactly."""
        self._sealer.encrypt_into(self._next_nonce(), plaintext, None, place)

    def open(self, ciphertext: bytes | memoryview, aad: bytes | None = None) -> bytes:
        """Open the next record of the peer's direction; raises `Tampered` for anything but exactly that."""
        number = self._opener_number
        if number >= MAX_RECORDS:
            raise _used_up()
        try:
            plaintext = self._opener.decrypt(number.to_bytes(12), ciphertext, aad)
        except (InvalidTag, ValueError) as error:
            self._opener_number = MAX_RECORDS
            raise Tampered("seal_broken", "a sealed record does not open") from error
        self._opener_number = number + 1
        return plaintext

    def open_into(self, ciphertext: memoryview, place: memoryview) -> None:
        """The same, written where it fits exactly; what lies there after `Tampered` is nobody's."""
        number = self._opener_number
        if number >= MAX_RECORDS:
            raise _used_up()
        try:
            self._opener.decrypt_into(number.to_bytes(12), ciphertext, None, place)
        except (InvalidTag, ValueError) as error:
            self._opener_number = MAX_RECORDS
            raise Tampered("seal_broken", "a sealed record does not open") from error
        self._opener_number = number + 1

    def _next_nonce(self) -> bytes:
        """The number of our next record, which no other record gets."""
        number = self._sealer_number
        if number >= MAX_RECORDS:
            raise LocalProtocolError("seal_broken", "this epoch is used up; the channel must be renewed")
        self._sealer_number = number + 1
        return number.to_bytes(12)


def _used_up() -> Tampered:
    return Tampered("seal_broken", "the peer used its epoch up, or an earlier record was broken")


def _cipher(secret: bytes, salt: bytes, way: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=way).derive(secret))
