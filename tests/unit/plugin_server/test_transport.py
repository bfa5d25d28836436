from __future__ import annotations

from sekisho.plugin_server import transport


def test_the_seam_has_two_sides_of_few_methods() -> None:
    for side in (transport.Transport, transport.Hearer):
        assert 2 <= len([name for name in vars(side) if not name.startswith("_")]) <= 6
