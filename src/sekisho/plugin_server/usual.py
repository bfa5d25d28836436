"""The usual notes and large answers of a plugin, known by their form, so that they cost no general parser.

- `read_note`: a progress notification that, read and written out again, is the very same line. So it says nothing that we
  have not read, no member twice, and nothing with escapes of its own.
- `find_answer`: where the result of a large answer stands. Only the envelope is looked at, in the forms that servers
  write. What stands inside is one JSON object exactly if the whole line is one answer to that call. The core, which
  reads and judges every result whole, with its own limits of depth and members, refuses it otherwise.

Whatever has another form is left to the general parser. Judgement: bytes in, values out.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from sekisho.protocol import JsonLimits

__all__ = ["LARGE_BYTES", "find_answer", "read_note"]

LARGE_BYTES: Final = 64 << 10  # from here on, reading a line once more costs more than all else done with it


class _ProgressParams(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, rename="camel"
):
    """What a progress notification says, in the order in which it is usually said."""

    progress_token: int
    progress: int | float
    total: int | float | None = None
    message: str | None = None


class _Progress(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A progress notification as most servers write it."""

    jsonrpc: Literal["2.0"]
    method: Literal["notifications/progress"]
    params: _ProgressParams


class _ProgressOfSdk(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The same as the SDKs of MCP write it."""

    method: Literal["notifications/progress"]
    params: _ProgressParams
    jsonrpc: Literal["2.0"]


_NOTE_START: Final = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":'
_SDK_NOTE_START: Final = b'{"method":"notifications/progress","params":{"progressToken":'
_SDK_NOTE_END: Final = b',"jsonrpc":"2.0"}'
_read: Final = msgspec.json.Decoder(_Progress).decode
_read_sdk: Final = msgspec.json.Decoder(_ProgressOfSdk).decode
_encode: Final = msgspec.json.Encoder().encode
_NOTE_DEPTH: Final = 2  # containers in each other in a note of the usual form
_NOTE_MEMBERS: Final = 7  # and those, with its commas

# The two forms: as nearly everybody writes it, and as the TypeScript SDK does. The longest has 61 bytes.
_ENVELOPE_BYTES: Final = 64
_ID: Final = rb"(0|[1-9][0-9]{0,17})"
_ANSWER_START: Final = re.compile(rb'\{"jsonrpc": ?"2\.0", ?"id": ?' + _ID + rb', ?"result": ?(?=\{)')
_ANSWER_END: Final = re.compile(rb'(?<=\}),"jsonrpc":"2\.0","id":' + _ID + rb"\}\Z")
_RESULT_START: Final = b'{"result":{'


def find_answer(line: bytes) -> tuple[int, int, int] | None:
    """Id, start and end of the result, if the line has the envelope of an answer."""
    found = _ANSWER_START.match(line)
    if found is not None and line.endswith(b"}}"):
        return int(found[1]), found.end(), len(line) - 1
    found = _ANSWER_END.search(line, len(line) - _ENVELOPE_BYTES)
    if found is not None and line.startswith(_RESULT_START):
        return int(found[1]), len(_RESULT_START) - 1, found.start()
    return None


def read_note(line: bytes, limits: JsonLimits) -> tuple[int, bytes] | None:
    """Token and params without it, if the line is a note as we would write it."""
    message: _Progress | _ProgressOfSdk
    try:
        if line.startswith(_NOTE_START):
            message, start, end = _read(line), len(_NOTE_START), -1
        elif line.startswith(_SDK_NOTE_START):
            message, start, end = _read_sdk(line), len(_SDK_NOTE_START), -len(_SDK_NOTE_END)
        else:
            return None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if (
        _encode(message) != line
        or len(line) > min(limits.max_bytes, limits.max_string_bytes)
        or limits.max_depth < _NOTE_DEPTH
        or limits.max_members < _NOTE_MEMBERS
    ):
        return None
    token = message.params.progress_token
    return token, b"{" + line[start + len(str(token)) + 1 : end]
