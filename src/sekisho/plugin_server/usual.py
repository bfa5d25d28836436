"""The usual notes and large answers of a plugin, known by their form, so that they cost no general parser.

- `read_notes`: progress notifications of one token in the usual envelope, whose params, read and written out again, are
  the very same bytes. So they say nothing that we have not read, no member twice, nothing with escapes of its own. All
  are read and written at once.
- `find_answer`: where the result of a large answer stands. Only the envelope is looked at, in the forms that servers
  write. What stands inside is one JSON object exactly if the whole line is one answer to that call. The core, which
  reads and judges every result whole, with its own limits of depth and members, refuses it otherwise.

Whatever has another form is left to the general parser. Judgement: bytes in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from sekisho.plugin_server.envelopes import read_progress
from sekisho.protocol import JsonLimits

__all__ = ["LARGE_BYTES", "find_answer", "notes_alike", "read_notes"]

LARGE_BYTES: Final = 64 << 10  # from here on, reading a line once more costs more than all else done with it


_NOTE_START: Final = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":'
_NOTE_END: Final = b"}"
_SDK_NOTE_START: Final = b'{"method":"notifications/progress","params":{"progressToken":'
_SDK_NOTE_END: Final = b',"jsonrpc":"2.0"}'
_STARTS: Final = (_NOTE_START, _SDK_NOTE_START)
_LONGEST_START: Final = len(_NOTE_START) + 20  # with the largest token that fits 64 bits, and a comma
_write: Final = msgspec.json.Encoder().encode_lines
_TOKEN: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
_NOTE_DEPTH: Final = 2  # containers in each other in a note of the usual form
_NOTE_MEMBERS: Final = 7  # and those, with its commas

# The two forms: as nearly everybody writes it, and as the TypeScript SDK does. The longest has 61 bytes.
_ENVELOPE_BYTES: Final = 64
_ID: Final = rb"(0|[1-9][0-9]{0,17})"
_ANSWER_START: Final = re.compile(rb'\{"jsonrpc": ?"2\.0", ?"id": ?' + _ID + rb', ?"result": ?(?=\{)')
_ANSWER_END: Final = re.compile(rb'(?<=\}),"jsonrpc":"2\.0","id":' + _ID + rb"\}\Z")
_RESULT_START: Final = b'{"result":{'


def find_answer(line: bytes | bytearray, size: int) -> tuple[int, int, int] | None:
    """Id, start and end of the result, if what has this size at the beginning of `line` has the envelope of an answer."""
    found = _ANSWER_START.match(line, 0, size)
    if found is not None and line.endswith(b"}}", 0, size):
        return int(found[1]), found.end(), size - 1
    found = _ANSWER_END.search(line, max(size - _ENVELOPE_BYTES, 0), size)
    if found is not None and line[: len(_RESULT_START)] == _RESULT_START:
        return int(found[1]), len(_RESULT_START) - 1, found.start()
    return None


def notes_alike(lines: Sequence[bytes], at: int) -> int:
    """How many lines from this one on begin as notes to one token do; 0 if this one does not."""
    first = lines[at]
    if not first.startswith(_STARTS):
        return 0
    start = first[: first.find(b",", len(_SDK_NOTE_START), _LONGEST_START) + 1]
    end = at + 1
    while end < len(lines) and start and lines[end].startswith(start):
        end += 1
    return end - at


def read_notes(lines: Sequence[bytes], limits: JsonLimits) -> tuple[int, bytes] | None:
    """Token and params without it, a line each, if these lines that begin alike are notes as we would write them.

    What all begin and end with is known by its bytes, and is cut off; what is left of each is read.
    """
    first = lines[0]
    if first.startswith(_NOTE_START):
        size, end = len(_NOTE_START), _NOTE_END
    else:
        size, end = len(_SDK_NOTE_START), _SDK_NOTE_END
    token = first[size : first.find(b",", size)]
    start, stop = size + len(token) + 1, -len(end)
    params = [line[start:stop] for line in lines if line.endswith(end)]
    if len(params) != len(lines) or _TOKEN.fullmatch(token) is None:
        return None
    said = b"{" + b"\n{".join(params)
    most = min(limits.max_bytes, limits.max_string_bytes)
    try:
        if (
            said.count(b"\n") != len(lines) - 1  # an event may have line feeds of its own
            or _write(read_progress(said)) != said + b"\n"
            or (len(said) + start + len(end) > most and max(map(len, lines)) > most)
            or limits.max_depth < _NOTE_DEPTH
            or limits.max_members < _NOTE_MEMBERS
        ):
            return None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return int(token), said
