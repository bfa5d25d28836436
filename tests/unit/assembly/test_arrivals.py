"""Each plugin has one word at a time, said when it changes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sekisho.assembly.arrivals import MAX_DETAIL_CHARS, Arrivals


def test_a_plugin_that_is_approved_goes_from_starting_to_ready() -> None:
    arrivals = Arrivals(["a"], 10.0)
    (first,) = arrivals.begin()
    assert (first.plugin, first.stage, first.seconds) == ("a", "starting", 0.0)
    assert arrivals.standing("a", "plugin_unavailable", 10.1) is None
    assert arrivals.state("a", "starting", "", 10.2) is None
    assert arrivals.state("a", "ready", "", 10.3) is None, "it is judged by what it lists"
    ready = arrivals.standing("a", "approved", 11.234)
    assert ready is not None
    assert (ready.stage, ready.seconds, ready.remedy) == ("ready", 1.23, "")


def test_the_order_of_what_is_heard_does_not_matter() -> None:
    arrivals = Arrivals(["a"], 0.0)
    arrivals.begin()
    assert arrivals.standing("a", "approved", 1.0) is None
    ready = arrivals.state("a", "idle", "", 2.0)
    assert ready is not None
    assert ready.stage == "ready"


def test_who_waits_for_a_person_is_said_with_what_to_type() -> None:
    arrivals = Arrivals(["a"], 0.0)
    arrivals.begin()
    arrivals.state("a", "ready", "", 1.0)
    for code, stage in (
        ("plugin_quarantined", "waiting for approval"),
        ("definition_changed", "changed since it was approved"),
    ):
        held = arrivals.standing("a", code, 1.0)
        assert held is not None
        assert (held.stage, held.remedy) == (stage, "sekisho review a, then sekisho approve a")
    refused = arrivals.standing("a", "lock_invalid", 2.0)
    assert refused is not None
    assert (refused.stage, refused.detail, refused.remedy) == ("refused", "lock_invalid", "")


def test_one_that_waits_for_its_package_is_said_with_the_command_and_goes_on_when_it_is_there() -> None:
    arrivals = Arrivals(["a"], 0.0)
    arrivals.begin()
    held = arrivals.held("a", "npm:a@1.0.0 is not installed", "run sekisho install a", 1.0)
    assert held is not None
    assert (held.stage, held.detail) == ("not running", "npm:a@1.0.0 is not installed")
    assert held.remedy == "run sekisho install a"
    assert arrivals.held("a", "npm:a@1.0.0 is not installed", "run sekisho install a", 2.0) is None
    assert arrivals.standing("a", "plugin_unavailable", 2.0) is None
    assert arrivals.state("a", "starting", "", 3.0) is None
    arrivals.standing("a", "plugin_quarantined", 4.0)
    waits = arrivals.state("a", "ready", "", 5.0)
    assert waits is not None
    assert (waits.stage, waits.remedy) == ("waiting for approval", "sekisho review a, then sekisho approve a")


def test_a_plugin_that_falls_again_and_again_is_said_once() -> None:
    arrivals = Arrivals(["a"], 0.0)
    arrivals.begin()
    down = arrivals.state("a", "restarting", "it ended", 1.0)
    assert down is not None
    assert (down.stage, down.detail) == ("not running", "it ended")
    assert arrivals.state("a", "restarting", "", 2.0) is None
    assert arrivals.state("a", "restarting", "it ended", 3.0) is None
    other = arrivals.state("a", "failed", "x" * 1000, 4.0)
    assert other is not None
    assert len(other.detail) == MAX_DETAIL_CHARS


def test_a_plugin_that_comes_by_a_reload_is_told_of_too() -> None:
    new = Arrivals([], 0.0).state("late", "restarting", "it ended", 1.0)
    assert new is not None
    assert new.plugin == "late"


HEARD = st.one_of(
    st.tuples(st.just("standing"), st.sampled_from(["approved", "plugin_quarantined", "plugin_unavailable"])),
    st.tuples(st.just("state"), st.sampled_from(["starting", "ready", "idle", "restarting", "failed"])),
)


@given(st.lists(HEARD, max_size=30))
def test_nothing_is_said_twice_in_a_row(heard: list[tuple[str, str]]) -> None:
    arrivals = Arrivals(["a"], 0.0)
    said = [(one.stage, one.detail) for one in arrivals.begin()]
    for kind, word in heard:
        detail = "why" if word in ("restarting", "failed") else ""
        news = (
            arrivals.standing("a", word, 1.0)
            if kind == "standing"
            else arrivals.state("a", word, detail, 1.0)
        )
        said += [] if news is None else [(news.stage, news.detail)]
    assert all(one != other for one, other in itertools.pairwise(said))
