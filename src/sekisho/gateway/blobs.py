"""Texts that come as base64: what a content block holds as `blob` or `data`, read for the content scan.

Guarantees that a blob which is mostly text is searched as that text, wherever MCP has a place for one: in a tool's
content, a prompt, a resource, a task's result, or what a plugin asks a client's model. It is decoded as the most lenient
client would: blanks and foreign characters are skipped, either alphabet is read, what stands behind padding is read too.
Pictures, sound and archives are not searched; nothing is changed. Judgement over values.
"""

from __future__ import annotations

import binascii
import codecs
from collections.abc import Iterator
from typing import Final

import msgspec

from sekisho.detect import NOTHING_FOUND, Findings, Inspection
from sekisho.protocol import JsonObject, JsonValue

__all__ = ["judge_with_blobs", "texts_in"]

# Members of a result or a question in which content blocks stand, or what holds some.
_HOLDERS: Final = frozenset({"content", "contents", "messages", "resource", "result", "params"})
_KEYED: Final = "inputRequests"
_DATA: Final = ("image", "audio")
TEXT_SHARE: Final = 0.75  # of random bytes, half are no text
CONTROL_SHARE: Final = 0.08  # of the bytes; text has none, what is compressed has a ninth
MAX_PADDINGS: Final = 64  # in one blob; real ones have two signs, and what was joined a few more

_encode: Final = msgspec.json.Encoder().encode
_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_="
_ALIEN: Final = bytes(set(range(256)) - set(_LETTERS))
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_MARKS: Final = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_UNREADABLE: Final = "\ufffd"
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r\x1b"))  # escape begins a sequence of a terminal


def judge_with_blobs(inspection: Inspection, emitted: bytes | memoryview, value: JsonObject) -> Findings:
    """What the scan finds in a text, and in the texts that its value holds as base64; nothing where it is off."""
    if not inspection.reads_results:
        return NOTHING_FOUND
    findings = inspection.judge_result(emitted)
    texts = texts_in(value)
    if not texts:
        return findings
    more = inspection.judge_result(_encode(texts))
    return Findings(
        refused=findings.refused or more.refused,
        rule_ids=tuple(dict.fromkeys((*findings.rule_ids, *more.rule_ids))),
    )


def texts_in(value: JsonObject) -> list[str]:
    """The texts of a result's or a question's blobs."""
    texts: list[str] = []
    _look(value, texts)
    return texts


def _look(value: JsonObject, texts: list[str]) -> None:
    blob = value.get("blob")
    if blob is None and value.get("type") in _DATA:
        blob = value.get("data")
    if isinstance(blob, str):
        texts += _texts_of(blob)
    for name, held in value.items():
        if name in _HOLDERS:
            _look_at(held, texts)
        elif name == _KEYED and isinstance(held, dict):
            for one in held.values():
                _look_at(one, texts)


def _look_at(held: JsonValue, texts: list[str]) -> None:
    if isinstance(held, dict):
        _look(held, texts)
    elif isinstance(held, list):
        for one in held:
            if isinstance(one, dict):
                _look(one, texts)


def _texts_of(blob: str) -> Iterator[str]:
    """The text in UTF-8, and behind a mark that in UTF-16, since a client may overlook it; nothing if it is none."""
    data = _decoded(blob)
    controls = len(data) - len(data.translate(None, _CONTROLS))
    if data and controls <= CONTROL_SHARE * len(data):  # most pictures need no more than that look
        text = data.decode("utf-8", "replace")
        if _is_text(text.count(_UNREADABLE) + controls, text):
            yield text
    for mark, name in _MARKS:
        if data.startswith(mark):
            text = data[len(mark) :].decode(name, "replace")
            if text and _is_text(text.count(_UNREADABLE) + text.count("\0"), text):
                yield text


def _is_text(strange: int, text: str) -> bool:
    return strange <= (1 - TEXT_SHARE) * len(text)


def _decoded(blob: str) -> bytes:
    """The bytes, as every step of a lenient reader finds them; each step takes time by the length of the blob alone."""
    parts = blob.encode("ascii", "ignore").translate(_STANDARD, _ALIEN).split(b"=", MAX_PADDINGS)
    parts[-1] = parts[-1].replace(b"=", b"")
    return b"".join(map(_bytes_of, parts))


def _bytes_of(part: bytes) -> bytes:
    """As many characters as make bytes, padded: a single one more means nothing."""
    whole = part[: len(part) - (len(part) % 4 == 1)]
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))
