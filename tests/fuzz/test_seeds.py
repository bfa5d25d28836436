"""Every seed, and every input that once broke a property, passes its target's oracle without the fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.main import WORD_LISTS, WORDS
from fuzz.targets import SEEDS, TARGETS, seeds_of
from hypothesis import given
from hypothesis import strategies as st

_SEEDS = [(target, seed) for target in TARGETS for seed in seeds_of(target)]


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(("target", "seed"), _SEEDS, ids=[f"{target}-{seed.stem}" for target, seed in _SEEDS])
def test_a_seed_breaks_no_property(target: str, seed: Path) -> None:
    TARGETS[target](seed.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_seeds(target: str) -> None:
    assert seeds_of(target)


def test_no_folder_of_seeds_is_without_a_target() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(TARGETS)


def test_every_word_list_exists_and_is_used() -> None:
    assert {path.stem for path in WORD_LISTS.iterdir()} == set(WORDS)
    assert {name for names in WORDS.values() for name in names} <= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.data())
def test_a_damaged_seed_breaks_no_property(target: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(seeds_of(target))).read_bytes()
    at = data.draw(st.integers(0, len(seed)))
    cut = data.draw(st.integers(0, 3))
    put = data.draw(st.binary(max_size=3))
    TARGETS[target](seed[:at] + put + seed[at + cut :])
