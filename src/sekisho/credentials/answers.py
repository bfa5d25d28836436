"""JSON that a server of the network wrote: read into the type that is asked for, within bounds of our own.

Guarantees that a text which is too deep, too full or not UTF-8 is refused before a parser sees it, so that what is
read never depends on how deep the interpreter's parser goes. Unknown members are ignored. Says nothing of meaning.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.protocol import JsonLimits, check_text

__all__ = ["LIMITS", "read_answer"]

# Metadata lists a few hundred words; nothing of OAuth nests deeper than a key set in a registered client.
LIMITS: Final = JsonLimits(max_bytes=1 << 20, max_depth=32, max_members=16_384)
_T = TypeVar("_T")


def read_answer(body: bytes, kind: type[_T]) -> _T:
    """The value of a body.

    Raises:
        RemoteProtocolError: `json_malformed`, the body is no such value.
    """
    try:
        check_text(body, LIMITS)
        return msgspec.json.decode(body, type=kind)
    except (SekishoError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RemoteProtocolError("json_malformed", "the answer cannot be read") from error
