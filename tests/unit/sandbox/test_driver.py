"""Which walls a plugin gets: the strongest it asked for, or a refusal that says why and what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.policy.grants import Grants
from sekisho.sandbox.driver import AUTO_ORDER, Offer, choose
from sekisho.sandbox.plans.spec import LEVELS, Level, SandboxSpec

STRICT = Offer(driver="bubblewrap", level="strict")
BROKEN = Offer(
    driver="bubblewrap", level="strict", missing=("bwrap is not installed (apt install bubblewrap)",)
)
OWN = Offer(driver="native", level="strict")
LANDLOCK = Offer(driver="landlock", level="standard", has_gate=False)
OLD_LANDLOCK = Offer(driver="landlock", level="minimal", has_gate=False)


def spec(isolation: str = "strict", *, network: bool = False, driver: str = "auto") -> SandboxSpec:
    return SandboxSpec(
        name="notes", argv=("x",), grants=Grants(), isolation=isolation, wants_network=network, driver=driver
    )


def test_the_first_offer_that_will_do_is_taken() -> None:
    assert choose(spec(), [STRICT, OWN]) == "bubblewrap"
    assert choose(spec(), [BROKEN, OWN]) == "native"
    assert choose(spec("standard"), [BROKEN, LANDLOCK]) == "landlock"


def test_what_comes_after_the_chosen_one_is_not_even_looked_at() -> None:
    asked = []

    def offers() -> object:
        for one in (STRICT, OWN):
            asked.append(one.driver)
            yield one

    choose(spec(), offers())  # type: ignore[arg-type]  # a generator that only this test knows
    assert asked == ["bubblewrap"]


def test_a_level_is_never_weakened_in_silence() -> None:
    with pytest.raises(Misconfigured) as caught:
        choose(spec(), [BROKEN, LANDLOCK])
    assert caught.value.code == "sandbox_unavailable"
    assert "apt install bubblewrap" in caught.value.message
    assert "landlock: gives standard at most" in caught.value.message
    assert 'isolation = "standard"' in caught.value.remedy
    with pytest.raises(Misconfigured):
        choose(spec("standard"), [OLD_LANDLOCK])
    assert choose(spec("minimal"), [OLD_LANDLOCK]) == "landlock"


def test_a_plugin_that_wants_the_network_gets_no_walls_without_a_gate() -> None:
    with pytest.raises(Misconfigured, match="no way out") as caught:
        choose(spec("standard", network=True), [LANDLOCK])
    assert "minimal" not in caught.value.remedy
    assert choose(spec("standard", network=True), [LANDLOCK, OWN]) == "native"


def test_no_walls_are_for_who_wrote_it_and_nobody_else() -> None:
    assert choose(spec("unsafe-none"), []) == "unsafe-none"
    for level in ("strict", "standard", "minimal"):
        with pytest.raises(Misconfigured):
            choose(spec(level), [])


@pytest.mark.parametrize("word", ["none", "unsafe_none", "UNSAFE-NONE", "off", "", "unsafe-none "])
def test_any_other_spelling_of_no_walls_is_refused(word: str) -> None:
    with pytest.raises(Misconfigured, match="unknown"):
        spec(word)


@given(
    wanted=st.sampled_from(LEVELS[:-1]),
    network=st.booleans(),
    offers=st.lists(
        st.builds(
            Offer,
            driver=st.sampled_from(AUTO_ORDER),
            level=st.sampled_from(LEVELS[:-1]),
            missing=st.sampled_from([(), ("x",)]),
            has_gate=st.booleans(),
        ),
        max_size=5,
    ),
)
def test_whatever_is_offered_nobody_gets_less_than_was_asked(
    wanted: Level, network: bool, offers: list[Offer]
) -> None:
    try:
        chosen = choose(spec(wanted, network=network), offers)
    except Misconfigured:
        assert all(one.lacks(spec(wanted, network=network)) for one in offers)
        return
    good = [one for one in offers if one.driver == chosen and not one.missing]
    assert any(
        LEVELS.index(one.level) <= LEVELS.index(wanted) and (one.has_gate or not network) for one in good
    )
