from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.wire.conftest import House


def test_nobody_changes_the_terms_of_a_listener(house: House) -> None:
    terms = house.plugin_terms()
    with pytest.raises(dataclasses.FrozenInstanceError):
        terms.ops = None  # type: ignore[misc]  # this is what is tested
    assert terms.ops == frozenset({"echo", "hold"})
