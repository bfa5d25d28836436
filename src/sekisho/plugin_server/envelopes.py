"""What nearly every message of a plugin is, as values: an answer to us, a notification, progress.

Values only, and their decoders: what they mean is decided by `usual` and `session`, which are compiled. A decoder takes
more than the usual spelling; whoever uses one compares with the bytes.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

__all__ = [
    "Ident",
    "Line",
    "Progress",
    "read_ident",
    "read_line",
    "read_progress",
]


class Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An answer to us, or a notification."""

    jsonrpc: Literal["2.0"]
    id: int = -1
    method: str = ""
    result: msgspec.Raw = msgspec.Raw()
    params: msgspec.Raw = msgspec.Raw()


class Progress(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What a progress notification says behind its token, in the order in which it is usually said."""

    progress: int | float
    total: int | float | None = None
    message: str | None = None


class Ident(msgspec.Struct, gc=False):
    """Whether a message of ours is a request, and which."""

    id: int | str | None = None
    method: str = ""


read_line: Final = msgspec.json.Decoder(Line).decode
read_ident: Final = msgspec.json.Decoder(Ident).decode
read_progress: Final = msgspec.json.Decoder(Progress).decode_lines  # of all notes to one token at once
