"""The face of the room."""

from __future__ import annotations

import sekisho.protocol


def test_every_name_on_the_face_exists_once() -> None:
    names = sekisho.protocol.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(sekisho.protocol, name) for name in names)
