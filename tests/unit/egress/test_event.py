"""An event that went through is worth a word only when something about it is."""

import pytest

from sekisho.egress.event import EgressEvent, Kind


@pytest.mark.parametrize(
    ("kind", "is_learned", "is_notable"), [("tls", False, False), ("tls", True, True), ("rate", False, True)]
)
def test_only_what_was_learned_or_slowed_down_is_notable(
    kind: Kind, is_learned: bool, is_notable: bool
) -> None:
    event = EgressEvent(
        plugin="a", kind=kind, host="a.example", port=443, allowed=True, reason="", is_learned=is_learned
    )
    assert event.is_notable is is_notable
