"""`sekisho scan`: what would the content scan say of these texts? For trying rules, and for measuring them.

Guarantees one verdict for each line of the file, in the same order, each printed as soon as it is known, and that a text
reaches the scan as it would reach it in a gateway: read strictly, in our own spelling. Prints ids of rules, never a
text. Uses every rule and no configuration; what a gateway does with a finding is its own `[inspection]`.
"""

from __future__ import annotations

import json as plain_json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from sekisho.cli.finding import Json
from sekisho.cli.saying import as_line, say, say_json
from sekisho.detect import RULES, Place, Scanner
from sekisho.errors import Misconfigured, RemoteProtocolError, SekishoError
from sekisho.protocol import JsonLimits, decode_distinct, parse_strict

__all__ = ["scan"]

LIMITS: Final = JsonLimits()
MAX_LINE_BYTES: Final = 64 << 20  # a file without line ends must not fill memory

Lines = Annotated[Path, Parameter(help="One JSON object a line.")]


def scan(file: Lines, *, json: Json = False) -> int:
    """Say which content rules the lines of a file meet.

    A line is an object with "kind" and what it names: "argument" (the JSON text of a call's arguments in "text"),
    "tool_result" (its text in "text") or "tool_definition" (the definition in "tool"). A printable "id" is repeated.

    A verdict is "refuse" (a rule of that severity is met, or the gate does not read such a text; "code" says why),
    "note" or "pass". Ends with 1 when a line is "unjudged".
    """
    scanner = _scanner()
    is_complete = True
    for number, line in enumerate(_lines(file), start=1):
        verdict = {"line": number, **_judge(line, scanner)}
        is_complete &= verdict["verdict"] != "unjudged"
        if json:
            say_json(verdict)
        else:
            say([as_line(verdict | {"rules": ",".join(verdict["rules"])})])
    return 0 if is_complete else 1


@cache
def _scanner() -> Scanner:
    """Of all rules; compiling them takes most of a second."""
    return Scanner(RULES)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise _unusable(f"{path} has a line of more than {MAX_LINE_BYTES} bytes")
                yield line
    except OSError as error:
        raise _unusable(f"{path} cannot be read: {error.strerror}") from error


def _unusable(what: str) -> Misconfigured:
    return Misconfigured("config_invalid", what, remedy="name a file with one JSON object a line")


def _judge(line: bytes, scanner: Scanner) -> dict[str, Any]:
    try:
        # loosely: what a lone surrogate or a number means is the strict reader's business, further down
        sample = plain_json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return {"verdict": "unjudged", "rules": [], "why": "not JSON"}
    if not isinstance(sample, dict):
        return {"verdict": "unjudged", "rules": [], "why": "not an object"}
    named = {"id": sample["id"]} if _is_plain(sample.get("id")) else {}
    try:
        found = _text_of(sample)
    except SekishoError as error:
        return {**named, "verdict": "refuse", "rules": [], "code": error.code}
    if found is None:
        return {**named, "verdict": "unjudged", "rules": [], "why": "no kind that is scanned"}
    verdict = scanner.scan(*found)
    word = "pass" if verdict.severity is None else verdict.severity.value
    return {**named, "verdict": word, "rules": list(verdict.rule_ids)}


def _is_plain(name: object) -> bool:
    """Whether a name may go to a terminal: the samples are hostile, escapes and surrogates included."""
    return isinstance(name, int) or (isinstance(name, str) and name.isprintable())


def _text_of(sample: dict[str, Any]) -> tuple[bytes, Place] | None:
    """What the gate would scan, and as what."""
    match sample:
        case {"kind": "argument", "text": str(text)}:
            data = text.encode("utf-8", "surrogatepass")
            if not isinstance(parse_strict(data, LIMITS), dict):
                raise RemoteProtocolError("params_invalid", "arguments are an object")
            return decode_distinct(data)[1], Place.ARGUMENTS
        case {"kind": "tool_result", "text": str(text)}:
            return _emitted({"content": [{"type": "text", "text": text}]}), Place.RESULTS
        case {"kind": "tool_definition", "tool": dict(tool)}:
            return _emitted(tool), Place.RESULTS
    return None


def _emitted(value: object) -> bytes:
    try:
        data = msgspec.json.encode(value)
    except (UnicodeError, RecursionError) as error:  # a lone surrogate is no text, and no plugin can send one
        raise RemoteProtocolError("json_malformed", "the text is not UTF-8") from error
    parse_strict(data, LIMITS)
    return data
