"""The benchmark's own arithmetic, its data, and its page: what it prints is believed, so it is tested."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # bench is no part of the package

from bench.disk import fdatasync_us, pause_s, waiting
from bench.figures import cpu_ratio, cpu_us, difference, events_per_call, middle, ratio, sibling
from bench.main import main
from bench.measure import Sample
from bench.peers import LABELS, STARTS
from bench.processes import Process
from bench.results import Findings, Measured
from bench.tables import show
from bench.targets import TARGETS, Target, Verdict, judge
from bench.tools import UPSTREAM
from bench.way import SEKISHO_ROLES, parts_of
from bench.workloads import OURS, WORKLOADS, Workload, chosen, peers_of

COSTS: Final = st.floats(min_value=0.5, max_value=1e5)


def sample(
    cpu: float | Mapping[str, float], *, p50: float = 100, p99: float = 200, events: float = 0
) -> Sample:
    parts = cpu if isinstance(cpu, Mapping) else {"gateway": cpu}
    return Sample(
        good=10,
        bad=0,
        calls_per_s=1000,
        p50_us=p50,
        p90_us=p50,
        p99_us=p99,
        max_us=p99,
        events_per_call=events,
        requests_per_call=1,
        first_bad="",
        cpu_us=parts,
    )


def test_a_ratio_is_made_within_a_round_before_the_median_is_taken() -> None:
    # The machine was three times slower in the second round, for both ways alike.
    rounds = [
        {"sekisho": sample(20), "nginx": sample(10)},
        {"sekisho": sample(60), "nginx": sample(30)},
        {"sekisho": sample(60), "nginx": sample(10)},
    ]
    assert cpu_ratio(rounds, "sekisho", "nginx") == 2
    assert difference(rounds, "sekisho", "nginx", cpu_us) == 30


@given(st.lists(st.tuples(COSTS, COSTS, st.floats(min_value=0.1, max_value=50)), min_size=1, max_size=9))
def test_a_machine_that_slows_down_as_a_whole_changes_no_ratio(
    rounds: list[tuple[float, float, float]],
) -> None:
    quiet = [{"one": sample(ours), "other": sample(theirs)} for ours, theirs, _ in rounds]
    busy = [{"one": sample(ours * x), "other": sample(theirs * x)} for ours, theirs, x in rounds]
    assert cpu_ratio(busy, "one", "other") == pytest.approx(cpu_ratio(quiet, "one", "other"))


def test_a_round_without_one_of_the_two_is_left_out_of_their_ratio() -> None:
    rounds = [{"sekisho": sample(20), "nginx": sample(10)}, {"sekisho": sample(90)}]
    assert cpu_ratio(rounds, "sekisho", "nginx") == 2
    assert ratio(rounds, "sekisho", "envoy", cpu_us) is None
    assert middle([], "sekisho", cpu_us) is None


def test_a_part_is_compared_with_everything_the_other_one_needs() -> None:
    rounds = [{"sekisho": sample({"core": 20, "plugins": 15}), "nginx": sample(10)}]
    assert cpu_ratio(rounds, "sekisho", "nginx", "core") == 2
    assert cpu_ratio(rounds, "sekisho", "nginx") == 3.5


def test_one_round_with_lost_events_is_not_hidden_by_the_others() -> None:
    rounds = [{"sekisho": sample(1, events=10)}, {"sekisho": sample(1, events=9.5)}]
    assert events_per_call(rounds, "sekisho") == 9.5


def test_a_way_is_compared_under_its_own_conditions() -> None:
    measured = ("nginx", "nginx-tls", "sekisho", "sekisho-tls")
    assert sibling("sekisho-tls", "nginx", measured) == "nginx-tls"
    assert sibling("sekisho", "nginx", measured) == "nginx"
    assert sibling("sekisho-many", "nginx", ("nginx-many",)) == "nginx-many"
    assert sibling("sekisho", "envoy", measured) is None


def test_the_upstream_behind_the_wall_costs_the_gateway_nothing_and_the_wall_does() -> None:
    def process(pid: int, parent: int, name: str, *words: str) -> Process:
        return Process(pid=pid, parent=parent, name=name, words=words)

    ours = ("python", "-I", "-m", "sekisho.assembly")
    tree = (
        process(1, 0, "sekisho", "python", "sekisho", "up"),
        process(2, 1, "python", *ours, "1", "core", "c", "h"),
        process(3, 1, "python", *ours, "1", "egress", "c", "h"),
        process(4, 1, "python", *ours, "1", "nursery", "7"),
        process(5, 4, "python", *ours, "1", "plugin", "c", "h", "web"),
        process(6, 5, "bwrap", "bwrap", "--args", "22", "--", str(UPSTREAM), "--stdio"),
        process(7, 6, UPSTREAM.name[:15], str(UPSTREAM), "--stdio"),
        process(8, 2, "python", "worker"),
        process(9, 4, "python", *ours, "1", "egress", "c", "h"),
    )
    assert parts_of(tree, SEKISHO_ROLES) == {
        1: "rest", 2: "core", 3: "rest", 4: "plugins", 5: "plugins", 6: "plugins", 8: "core", 9: "rest",
    }  # fmt: skip
    assert set(parts_of(tree, {}).values()) == {"gateway"}


def test_every_way_of_every_workload_can_be_started_and_has_a_label() -> None:
    named = {way for one in WORKLOADS for way in one.ways}
    assert named <= STARTS.keys()
    assert STARTS.keys() == LABELS.keys()
    assert named >= OURS


def test_every_target_names_what_is_measured() -> None:
    by_name = {one.name: one for one in WORKLOADS}
    for target in TARGETS:
        assert (target.most is None) != (target.least is None), target.about
        if target.figure == "single":
            assert target.single, target.about
            continue
        ways = {*by_name[target.workload].ways, ""}
        assert {target.way, target.against} <= ways, target.about


def test_a_target_without_its_figure_is_not_called_met() -> None:
    verdicts = judge([], {})
    assert {one.is_met for one in verdicts} == {None}


@pytest.mark.parametrize(("value", "is_met"), [(1.9, True), (2.0, True), (2.1, False)])
def test_a_bound_holds_up_to_itself(value: float, is_met: bool) -> None:
    most = Target(about="", figure="single", unit="", single="x", most=2)
    least = Target(about="", figure="single", unit="", single="x", least=2)
    assert Verdict(target=most, value=value).is_met is is_met
    assert Verdict(target=least, value=value).is_met is (value >= 2)


def test_a_figure_reaches_its_target() -> None:
    target = next(one for one in TARGETS if one.figure == "cpu ratio" and one.part == "core")
    workload = next(one for one in WORKLOADS if one.name == target.workload)
    one = Measured(workload=workload, ways=("nginx", "sekisho"))
    one.rounds.append({"nginx": sample(10), "sekisho": sample({"core": 17, "plugins": 9})})
    verdict = next(v for v in judge([one], {"core_pss_mib": 61}) if v.target is target)
    assert (verdict.value, verdict.is_met) == (1.7, True)
    idle = next(v for v in judge([one], {"core_pss_mib": 61}) if v.target.single == "core_pss_mib")
    assert idle.is_met is False


def test_waiting_is_told_in_units_of_both_kinds_of_fdatasync_and_the_harsher_stays_a_target() -> None:
    workload = next(one for one in WORKLOADS if one.waits_for_disk)
    one = Measured(workload=workload, ways=("sekisho", "sekisho-written"))
    assert waiting(one) == {}
    for more in (300, 320, 900):
        one.rounds.append({"sekisho": sample(1, p50=400 + more), "sekisho-written": sample(1, p50=400)})
        one.fdatasync_us.append(more / 2)
        one.paced_fdatasync_us.append(more / 1.6)
    found = waiting(one)
    assert (found["fdatasync_us"], found["fdatasync_paced_us"], found["effects_us"]) == (160, 200, 320)
    assert (found["effects_fdatasyncs"], found["effects_paced_fdatasyncs"]) == (2, 1.6)
    judged = {v.target.single: v.is_met for v in judge([one], found)}
    assert (judged["effects_fdatasyncs"], judged["effects_paced_fdatasyncs"]) == (False, False)


def test_the_pace_is_that_of_the_calls_of_the_same_round(tmp_path: Path) -> None:
    assert pause_s({"sekisho-written": sample(1, p50=385)}) == pytest.approx(385e-6)
    assert pause_s({}) > 0
    assert fdatasync_us(tmp_path, 1e-6) > 0
    assert list(tmp_path.iterdir()) == []


def test_peers_can_be_chosen_and_ours_stay() -> None:
    workloads = chosen("tls")
    assert [one.name for one in workloads] == ["TLS 1.3 in front, 32 clients"]
    assert peers_of(workloads, frozenset({"nginx"})) == {
        "direct", "nginx", "nginx-tls", "sekisho", "sekisho-tls",
    }  # fmt: skip
    assert peers_of(workloads, frozenset({"none"})) <= OURS
    assert "envoy-secured-tls" in peers_of(workloads, None)


def test_the_tables_say_what_is_missing_and_what_is_lost() -> None:
    workload = Workload(name="steps", ways=(), clients=1, events_per_call=10)
    one = Measured(workload=workload, ways=("direct", "nginx", "envoy", "sekisho"))
    one.rounds.append(
        {
            "direct": sample({}, events=10),
            "nginx": sample(12.34, events=10),
            "sekisho": sample({"core": 20, "plugins": 10}, events=0),
        }
    )
    one.absent["envoy"] = "not installed: apt-get install [envoy]"
    page = io.StringIO()
    show(Console(width=200, file=page), Findings(workloads=[one], absent={"memory": "no /proc"}))
    shown = page.getvalue()
    assert "not installed: apt-get install [envoy]" in shown
    assert "notifications are lost" in shown
    assert "memory: no /proc" in shown
    assert "not measured" in shown


def test_what_is_said_below_a_table_is_no_row_of_it() -> None:
    workload = Workload(name="small", about="one call at a time", ways=(), clients=1)
    one = Measured(workload=workload, ways=("direct", "nginx", "envoy"))
    one.rounds.append({"direct": sample({}), "nginx": sample(12.34)})
    one.absent["envoy"] = "not installed"
    page = io.StringIO()
    show(Console(width=200, file=page), Findings(workloads=[one]), markdown=True)
    shown = page.getvalue()
    assert "|\n\n- Envoy: not measured, see below\n\none call at a time\n" in shown
    assert "| way    | CPU µs |" in shown
    assert "| ------ | -----: |" in shown


def test_every_peer_is_pinned_to_one_version(root: Path) -> None:
    for file in sorted((root / "bench" / "requirements").glob("*.txt")):
        for line in file.read_text().splitlines():
            assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line), (
                f"{file.name}: {line}"
            )


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--seconds", "0"], ["--starts", "x"], ["--wat"]])
def test_a_wrong_word_on_the_command_line_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(words)
    assert error.value.code == 2


def test_the_page_names_every_workload(pages: dict[str, str]) -> None:
    page = pages["docs/performance.md"]
    missing = [one.name for one in WORKLOADS if one.name not in page]
    assert not missing
