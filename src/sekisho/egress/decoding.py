"""A body with a content coding, read as it streams: what has to be searched for secrets is never passed on unread.

Guarantees
- gzip (of any number of members) and deflate (with zlib's frame, as the standard says, or bare, as some hosts send it)
  are read; any other coding, and several on top of each other, are refused by name;
- what comes out is bounded by what came in, so that a small answer cannot cost much memory here or there;
- a body that is damaged, goes on behind its end, or stops before it, is told from a whole one.

Judgement only. Sources: RFC 9110 section 8.4, RFC 1950 to 1952. Brotli and Zstandard need libraries that are not ours.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from sekisho.errors import Refused

__all__ = ["COMPRESSED", "Decoder", "coding_of"]

COMPRESSED: Final = (
    "the host compressed its answer in a way that cannot be searched, though it was asked not to, and may have written "
    "a secret into it"
)
FREE_BYTES: Final = 8 << 20  # what any answer may become: an error page of zeros harms nobody
MAX_RATIO: Final = 128  # beyond that; deflate reaches 1032, and texts that are worth reading do not
MAX_BYTES: Final = 1 << 30  # of one answer
_SLICE_BYTES: Final = (
    4096  # zlib copies what is behind a member's end: thousands of tiny ones must cost linear time
)
_GZIP: Final = 16 + zlib.MAX_WBITS
_CODINGS: Final = {b"gzip": "gzip", b"x-gzip": "gzip", b"deflate": "deflate"}


def coding_of(values: Sequence[bytes], *, is_read: bool = True) -> str:
    """The coding that these fields name; nothing where they name none.

    Raises:
        Refused: it cannot be read here, and is to be.
    """
    named = [word for value in values for one in value.split(b",") if (word := one.strip().lower())]
    named = [one for one in named if one != b"identity"]
    if not named:
        return ""
    if not is_read:
        return "some"
    if len(named) > 1 or named[0] not in _CODINGS:
        raise Refused("secret_refused", COMPRESSED)
    return _CODINGS[named[0]]


class Decoder:
    """One body of one coding."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding == "gzip"
        self._inner = zlib.decompressobj(_GZIP) if self._is_gzip else None
        self._first = b""  # of a deflate body, until it is known which kind it is
        self._taken = self._given = 0

    @property
    def is_whole(self) -> bool:
        """Whether it may end here: at the end of a member, or before anything came."""
        return not self._taken or (self._inner is not None and self._inner.eof)

    def feed(self, data: bytes) -> bytes:
        """What these bytes stand for.

        Raises:
            Refused: they are damaged, or stand for too much.
        """
        try:
            out = [
                piece
                for at in range(0, len(data), _SLICE_BYTES)
                for piece in self._decoded(data[at : at + _SLICE_BYTES])
            ]
        except zlib.error as error:
            raise _unreadable("the host's compressed answer is damaged") from error
        return b"".join(out)

    def _decoded(self, data: bytes) -> list[bytes]:
        self._taken += len(data)
        out: list[bytes] = []
        if self._inner is None:
            data = self._first = self._first + data
            if len(data) < 2:
                return out
            self._inner = zlib.decompressobj(zlib.MAX_WBITS if _has_frame(data) else -zlib.MAX_WBITS)
        while data:
            if self._inner.eof:
                if not self._is_gzip:
                    raise _unreadable("the host's compressed answer goes on behind its end")
                self._inner = zlib.decompressobj(_GZIP)
            out.append(self._inner.decompress(data, self._most() - self._given + 1))
            self._given += len(out[-1])
            if self._given > self._most():
                raise _unreadable("the host's compressed answer stands for far too much")
            data = self._inner.unconsumed_tail or self._inner.unused_data
        return out

    def _most(self) -> int:
        """What may have come out by now."""
        return min(max(FREE_BYTES, MAX_RATIO * self._taken), MAX_BYTES)


def _has_frame(data: bytes) -> bool:
    """Whether this is how zlib's frame begins (RFC 1950, section 2.2); of bare deflate next to nothing does."""
    return data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0


def _unreadable(reason: str) -> Refused:
    return Refused("secret_refused", reason)
