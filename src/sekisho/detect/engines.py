"""Two ways to find all keys of all rules in one pass, and one way to judge a pattern.

- Keys: Hyperscan where its wheel exists (x86-64), else RE2's Set. Both report every key that occurs; the tests
  hold them to the same places.
- Patterns: always RE2, compiled when a key first asks for it (a third of a millisecond each).

No engine here backtracks: time is linear in the text, whatever is in it. Hyperscan lets the interpreter go while it
scans and keeps one scratch space, so a finder belongs to one thread; used by two at once it raises, it never
answers wrongly.

Compiling the keys takes Hyperscan a few tenths of a second, so its result may be stored. What is read back is
used only if it names these keys and this engine and has its own digest; otherwise the keys are compiled again. The
digest is against accidents: whoever may write the file can make this process do anything, so it belongs beside the
keys of the house.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, Protocol

from sekisho.errors import Misconfigured

__all__ = [
    "FLOOD",
    "Hit",
    "HyperscanKeys",
    "KeyFinder",
    "Pattern",
    "Re2Keys",
    "TooManyKeys",
    "best_finder",
    "compiled",
]

Hit = tuple[int, int]  # which key, and the offset behind its end

FLOOD: Final = 1 << 16  # more keys than any text of a few megabytes holds unless it was made of them
_MAX_PATTERN_BYTES: Final = 64 << 20  # RE2 then never gives up on one of our patterns for lack of memory
# RE2 answers "nothing" when its automaton does not fit. The mark stands behind every text and is a pattern of the
# set, so that an answer without it is known to be no answer. These bytes are in no UTF-8 text.
_MARK: Final = b"\xfe\xffsekisho\xff\xfe"


class TooManyKeys(Exception):
    """The text holds so many keys that it was made to keep the scan busy."""


class Pattern(Protocol):
    """One compiled pattern."""

    def search(self, text: bytes | memoryview) -> object | None:
        """Something when the pattern occurs in the text, else None."""


class KeyFinder(Protocol):
    """All keys of one rule book, compiled."""

    stored: bytes
    """What to hand to the next finder of the same keys, so that it need not compile; may be empty."""

    def find(self, text: bytes | memoryview) -> Sequence[Hit]:
        """Every key that occurs with every place where it ends, in no particular order; raises TooManyKeys."""


def compiled(pattern: bytes) -> Pattern:
    """One pattern for RE2, read as bytes."""
    made: Pattern = _re2().compile(pattern, _options())
    return made


def best_finder(keys: Sequence[bytes], stored: bytes = b"") -> KeyFinder:
    """Hyperscan if this machine can have it, else RE2."""
    return HyperscanKeys(keys, stored) if importlib.util.find_spec("hyperscan") else Re2Keys(keys, stored)


class HyperscanKeys:
    """One pass, one callback for each place of a key, none for a text without."""

    __slots__ = ("_database", "_scan", "stored")

    def __init__(self, keys: Sequence[bytes], stored: bytes = b"") -> None:
        hyperscan: Any = importlib.import_module("hyperscan")  # no wheel for every platform
        name = _name(keys, hyperscan)
        database = _read_back(stored, name, hyperscan)
        if database is None:
            database = _compile(keys, hyperscan)
            written: bytes = hyperscan.dumpb(database)
            stored = name + hashlib.sha256(written).digest() + written
        database.scratch = hyperscan.Scratch(database)
        self.stored = stored
        self._database = database  # owns the scratch space
        self._scan = database.scan

    def find(self, text: bytes | memoryview) -> Sequence[Hit]:
        """See KeyFinder."""
        hits: list[Hit] = []
        self._scan(text, _note, 0, hits)
        return hits


def _name(keys: Sequence[bytes], hyperscan: Any) -> bytes:
    """Stands for exactly these keys and this release of the engine; the processor is checked when reading back."""
    engine = str(hyperscan.__version__).encode()
    digest = hashlib.sha256(len(engine).to_bytes(4) + engine)
    for key in keys:
        digest.update(len(key).to_bytes(4) + key)
    return digest.digest()


def _compile(keys: Sequence[bytes], hyperscan: Any) -> Any:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(
            expressions=list(keys), ids=list(range(len(keys))), elements=len(keys), flags=[0] * len(keys)
        )
    except hyperscan.HyperscanError as error:
        raise Misconfigured("internal", f"the keys of the content scan do not compile: {error}") from error
    return database


def _read_back(stored: bytes, name: bytes, hyperscan: Any) -> Any | None:
    mark, digest, written = stored[:32], stored[32:64], stored[64:]
    if mark != name or digest != hashlib.sha256(written).digest():
        return None
    try:
        return hyperscan.loadb(written, hyperscan.HS_MODE_BLOCK)
    except hyperscan.HyperscanError:
        return None  # made for another processor


def _note(key: int, _start: int, end: int, _flags: int, hits: list[Hit]) -> None:
    hits.append((key, end))
    if len(hits) > FLOOD:
        raise TooManyKeys


class Re2Keys:
    """First which keys occur at all, then where."""

    __slots__ = ("_keys", "_set", "stored")

    def __init__(self, keys: Sequence[bytes], _stored: bytes = b"") -> None:
        self.stored = b""  # RE2 compiles in milliseconds
        re2 = _re2()
        self._keys = [re2.compile(key, _options()) for key in keys]
        self._set = re2.Set.SearchSet(_options())
        for key in keys:
            self._set.Add(key)
        self._set.Add(re2.escape(_MARK))
        self._set.Compile()

    def find(self, text: bytes | memoryview) -> Sequence[Hit]:
        """See KeyFinder."""
        text = bytes(text)
        found = self._set.Match(text + _MARK) or ()
        if len(self._keys) not in found:
            raise Misconfigured("internal", "RE2 ran out of memory for the keys of the content scan")
        hits: list[Hit] = []
        for key in found:
            if key < len(self._keys):
                hits += [(key, place.end()) for place in self._keys[key].finditer(text)]
                if len(hits) > FLOOD:
                    raise TooManyKeys
        return hits


@cache
def _re2() -> Any:
    """Imported with the first pattern: processes that only read the configuration never need it."""
    return importlib.import_module("re2")


def _options() -> Any:
    re2 = _re2()
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # one byte, one character
    options.max_mem = _MAX_PATTERN_BYTES
    options.never_capture = True
    options.log_errors = False
    return options
