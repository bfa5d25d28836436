"""The last look at what leaves a tool: bounded, without hidden characters, without the plugin's own secrets.

Guarantees
- every text of a result, a fault or a note is free of control, reordering and invisible characters; each is replaced
  by its visible name, and how many there were is said in `_meta`;
- no secret of the plugin's own settings is in it, plain, percent-encoded or as base64;
- what is larger than the bound is a fault and not a cut: half a JSON text is worse than none.

Judgement only. What a text *means*, such as instructions in a blog post, is judged by the gateway.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from sekisho.plugin.characters import neutralised
from sekisho.plugin.faults import InvalidParameters, PluginFault, ResultInvalid, TooLarge
from sekisho.plugin.shapes import Shape

__all__ = ["ERROR", "NEUTRALISED", "REDACTED", "Redaction", "ToolResult", "failure", "finish"]

MAX_RESULT_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MIN_SECRET_CHARS: Final = 6  # a shorter one would take ordinary words out of every text
ERROR: Final = "dev.sekisho/error"
NEUTRALISED: Final = "dev.sekisho/neutralised"
REDACTED: Final = "[redacted]"


@dataclass(slots=True)
class Redaction:
    """The texts that may not leave. Grows while the plugin learns its secrets, never shrinks."""

    _texts: set[str] = field(default_factory=set)
    _pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """From now on this text is taken out, however it is spelled."""
        if len(secret) < MIN_SECRET_CHARS:
            return
        raw = secret.encode("utf-8", "surrogatepass")
        spelled = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}
        spelled |= {
            base64.b64encode(raw).decode().rstrip("="),
            base64.urlsafe_b64encode(raw).decode().rstrip("="),
        }
        self._texts |= spelled
        longest_first = sorted(self._texts, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(one) for one in longest_first))

    def apply(self, text: str) -> str:
        """The text without them."""
        return text if self._pattern is None else self._pattern.sub(REDACTED, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a call gives: one text for models, the same as data for programs, and remarks of ours."""

    text: str
    structured: Mapping[str, object] | None = None
    is_error: bool = False
    meta: Mapping[str, object] = field(default_factory=dict)

    def wire(self) -> dict[str, object]:
        """As MCP writes it."""
        made: dict[str, object] = {"content": [{"type": "text", "text": self.text}]}
        if self.structured is not None:
            made["structuredContent"] = self.structured
        if self.is_error:
            made["isError"] = True
        return {**made, "_meta": dict(self.meta)} if self.meta else made


def finish(value: object, shape: Shape | None, redaction: Redaction) -> ToolResult:
    """The result of a tool that returned `value`; `shape` is what it declared, None for a plain text.

    Raises:
        ResultInvalid: the value is not what was declared.
        TooLarge: the value is larger than one result may be.
    """
    cleaner = _Cleaner(redaction)
    clean = cleaner.value(value, MAX_DEPTH)
    meta = {NEUTRALISED: cleaner.neutralised} if cleaner.neutralised else {}
    if shape is None:
        if not isinstance(clean, str):
            raise ResultInvalid("the tool promised a text and gave something else")
        return ToolResult(text=_bounded(clean), meta=meta)
    try:
        structured = shape.read(clean, "the result")
    except InvalidParameters as wrong:
        raise ResultInvalid(f"the tool gave something else than it declared: {wrong.message}") from None
    if not isinstance(structured, dict):
        raise ResultInvalid("the tool promised an object and gave something else")
    text = json.dumps(structured, ensure_ascii=False, separators=(",", ":"))
    return ToolResult(text=_bounded(text), structured=structured, meta=meta)


def failure(fault: PluginFault, redaction: Redaction) -> ToolResult:
    """A fault as a result that says so: the model reads the text, a program the code."""
    message, _ = neutralised(redaction.apply(fault.message))
    facts: dict[str, object] = {"code": fault.code}
    if fault.retry_after_s is not None and math.isfinite(fault.retry_after_s):
        facts["retryAfterSeconds"] = fault.retry_after_s
    return ToolResult(text=f"[{fault.code}] {message}", is_error=True, meta={ERROR: facts})


def _bounded(text: str) -> str:
    if len(text) > MAX_RESULT_BYTES or len(text.encode()) > MAX_RESULT_BYTES:
        raise TooLarge(f"the result has more than {MAX_RESULT_BYTES >> 10} KiB; ask for less")
    return text


class _Cleaner:
    """Walks a value once; counts what it made visible."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self.neutralised = 0

    def value(self, value: object, depth: int) -> object:
        if depth == 0:
            raise ResultInvalid("the tool gave something nested too deeply")
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return dict(self._members(value.items(), depth))
        if isinstance(value, list | tuple):
            return [self.value(one, depth - 1) for one in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        raise ResultInvalid(f"the tool gave a {type(value).__name__}, which JSON does not know")

    def _members(self, items: Iterable[tuple[object, object]], depth: int) -> Iterable[tuple[str, object]]:
        for key, value in items:
            if not isinstance(key, str):
                raise ResultInvalid("the tool gave an object whose keys are no texts")
            yield self._text(key), self.value(value, depth - 1)

    def _text(self, text: str) -> str:
        clean, count = neutralised(self._redaction.apply(text))
        self.neutralised += count
        # Taken out once more: a hidden character inside a secret would have hidden the secret as well.
        return self._redaction.apply(clean)
