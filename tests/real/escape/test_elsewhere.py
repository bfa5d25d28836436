"""What is told of a host that is not ours; no scene is played here."""

from __future__ import annotations

from typing import Any

import pytest
from tests.real.escape.elsewhere import complaints, differences, idle, main
from tests.real.escape.program import catalogue


def _held() -> dict[str, dict[str, Any]]:
    """Nothing got through, and the listed host was reached."""
    return {
        id_: {"works": one.is_function, "detail": "nothing was gained"} for id_, one in catalogue().items()
    }


def test_walls_that_held_everything_are_not_complained_of() -> None:
    assert complaints("bubblewrap", _held()) == []


@pytest.mark.parametrize(
    ("id_", "came_out", "said"),
    [
        ("F01", {"works": True, "detail": "read a decoy secret"}, "F01 got through: read a decoy secret"),
        ("K01", {"works": False, "detail": "it hung"}, "K01 hung"),
        ("X00", {"works": False, "detail": "refused"}, "X00 must work and does not: refused"),
    ],
)
def test_a_fallen_wall_a_hang_and_a_closed_door_are_complained_of(
    id_: str, came_out: dict[str, Any], said: str
) -> None:
    assert complaints("bubblewrap", _held() | {id_: came_out}) == [said]


def test_a_probe_that_was_left_out_is_complained_of() -> None:
    found = _held()
    del found["F01"]
    assert complaints("native", found) == ["F01 was not tried"]


def test_what_a_driver_never_claimed_is_known_of_it_alone() -> None:
    found = _held() | {id_: {"works": False, "detail": "no proxy"} for id_ in ("X00", "X01")}
    found["P13"] = {"works": True, "detail": "the host's name"}
    assert complaints("landlock", found) == []
    assert len(complaints("bubblewrap", found)) == 3
    assert complaints("bare", found) == []


def test_only_what_came_out_otherwise_than_on_the_page_is_a_difference() -> None:
    found = {
        "F01": {"works": True, "detail": "read"},
        "F02": {"works": False, "detail": "none", "absent": True},
        "F03": {"works": False, "detail": "held"},
    }
    told = {"F01": "-", "F02": "A", "F03": "-"}
    assert list(differences(found, told)) == [
        "F01 - on the page, A here: read",
        "F02 A on the page, . here: none",
    ]


def test_honest_work_counts_as_done_when_it_printed_what_it_must() -> None:
    good = {"sqlite3": "42", "python: landlock of its own": "refused", "deno: a program": "absent: not here"}
    assert list(idle("bubblewrap", good)) == []
    assert list(idle("bubblewrap", {"sqlite3": "41"})) == ["sqlite3: 41"]
    assert list(idle("bubblewrap", {"python: landlock of its own": "failed: 1"})) != []
    assert list(idle("landlock", {"python: asyncio": "failed: no socket"})) == []


def test_a_scene_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["bubblewrap:nobody"])
