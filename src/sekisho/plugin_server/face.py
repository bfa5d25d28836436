"""What a plugin shows of itself, as one digest, so that its instances can be held to the face that was reviewed.

Guarantees that two surfaces have the same digest exactly when they say the same as JSON: every field of every
definition counts, their order does not. A surface that no strict reader understands has none, and is refused.

Judgement: values in, values out. Whether a face was approved is asked by the core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekisho.errors import Refused, SekishoError
from sekisho.protocol import JsonLimits, JsonValue, canonical_bytes, digest, parse_strict
from sekisho.wire import SurfaceFrame

__all__ = ["Face", "face_of"]

_LIMITS: Final = JsonLimits(max_bytes=1 << 20, max_depth=64)  # of one definition, as the core's


class Face:
    """The face of the instance that is listed. `on_change` hears when it shows another one."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._shown: str | None = None

    @property
    def is_known(self) -> bool:
        """False until the listed instance has shown itself."""
        return self._shown is not None

    def show(self, frame: SurfaceFrame) -> None:
        """The listed instance says what it offers now."""
        before = self._shown
        try:
            self._shown = face_of(frame)
        except SekishoError:
            self._shown = None  # the core, which reads it as strictly, approves nothing of it
        if before is not None and self._shown != before:
            self._on_change()

    def compare(self, frame: SurfaceFrame) -> None:
        """Refuse an instance that shows another face than the listed one; raises `SekishoError`."""
        if face_of(frame) != self._shown:
            raise Refused(
                "definition_changed", "an instance of the plugin offers other things than were listed"
            )


def face_of(frame: SurfaceFrame) -> str:
    """The digest of a surface; raises `SekishoError` if it cannot be read strictly."""
    face: list[JsonValue] = [
        _read(bytes(frame.server_info)),
        _read(bytes(frame.capabilities)),
        frame.instructions,
    ]
    for items in (frame.tools, frame.prompts, frame.resources, frame.templates):
        face.append([*sorted(canonical_bytes(_read(bytes(one))).decode() for one in items)])
    return digest("sekisho/face/1", canonical_bytes(face))


def _read(text: bytes) -> JsonValue:
    return parse_strict(text, _LIMITS)
