"""Counters count, and no stranger's word becomes a label."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from sekisho.telemetry import Metrics
from sekisho.telemetry.metrics import MAX_TOOLS


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name: label values in the order of their names → value."""
    _, text = metrics.exposition()
    return {
        tuple(sample.labels[key] for key in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name
    }


def test_an_answered_call_is_counted_by_plugin_tool_and_end() -> None:
    metrics = Metrics()
    metrics.answered("notes", "add", "ok", 0.002)
    metrics.answered("notes", "add", "ok", 0.002)
    metrics.answered("notes", "add", "plugin_timeout", 30.0)
    assert samples(metrics, "sekisho_calls_total") == {
        ("ok", "answered", "notes", "add"): 2,
        ("plugin_timeout", "failed", "notes", "add"): 1,
    }
    assert samples(metrics, "sekisho_call_seconds_count") == {("notes",): 3}


def test_a_refusal_is_counted_by_its_code() -> None:
    metrics = Metrics()
    metrics.know("notes", ["add"])
    metrics.refused("notes", "add", "rate_limited")
    metrics.refused("", "", "token_missing")
    assert samples(metrics, "sekisho_refusals_total") == {("rate_limited",): 1, ("token_missing",): 1}
    assert samples(metrics, "sekisho_calls_total") == {
        ("rate_limited", "refused", "notes", "add"): 1,
        ("token_missing", "refused", "other", "other"): 1,
    }


@pytest.mark.threat("T-FLOOD")
@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=30))
def test_names_of_strangers_never_become_labels(calls: list[tuple[str, str, str]]) -> None:
    metrics = Metrics()
    metrics.know("notes", ["add"])
    for plugin, tool, code in calls:
        metrics.refused(f"x{plugin}", tool, f"x{code}")
    assert set(samples(metrics, "sekisho_calls_total")) <= {("other", "refused", "other", "other")}


@pytest.mark.threat("T-FLOOD")
def test_an_unknown_tool_of_a_known_plugin_counts_under_other() -> None:
    metrics = Metrics()
    metrics.know("notes", ["add"])
    metrics.refused("notes", "no-such-tool", "tool_unknown")
    assert samples(metrics, "sekisho_calls_total") == {("tool_unknown", "refused", "notes", "other"): 1}


@pytest.mark.threat("T-FLOOD")
def test_a_plugin_cannot_grow_the_labels_for_ever() -> None:
    metrics = Metrics()
    metrics.know("notes", (f"tool{number}" for number in range(MAX_TOOLS)))
    metrics.answered("notes", "one-more", "ok", 0.1)
    assert samples(metrics, "sekisho_calls_total") == {("ok", "answered", "notes", "other"): 1}


def test_a_plugin_is_up_or_down_and_its_restarts_add_up() -> None:
    metrics = Metrics()
    metrics.plugin_state("notes", is_up=True, restarts=2)
    metrics.plugin_state("notes", is_up=False, restarts=None)
    metrics.plugin_state("notes", is_up=False, restarts=3)
    assert samples(metrics, "sekisho_plugin_up") == {("notes",): 0}
    assert samples(metrics, "sekisho_plugin_restarts_total") == {("notes",): 3}
    metrics.plugin_state("notes", is_up=True, restarts=1)  # its plugin server began again
    assert samples(metrics, "sekisho_plugin_restarts_total") == {("notes",): 4}


def test_a_known_plugin_is_down_until_it_says_otherwise() -> None:
    metrics = Metrics()
    metrics.know("notes")
    assert samples(metrics, "sekisho_plugin_up") == {("notes",): 0}


def test_the_audit_log_reports_records_and_health() -> None:
    metrics = Metrics()
    assert samples(metrics, "sekisho_audit_healthy") == {(): 1}
    metrics.committed(7, 0.001)
    metrics.committed(1, 0.002)
    metrics.audit_healthy(False)
    assert samples(metrics, "sekisho_audit_records_total") == {(): 8}
    assert samples(metrics, "sekisho_audit_sync_seconds_count") == {(): 2}
    assert samples(metrics, "sekisho_audit_healthy") == {(): 0}


def test_calls_under_way_are_a_gauge() -> None:
    metrics = Metrics()
    metrics.tally.in_flight = 3
    assert samples(metrics, "sekisho_in_flight") == {(): 3}


def test_two_gateways_in_one_process_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.answered("notes", "add", "ok", 0.1)
    assert samples(second, "sekisho_calls_total") == {}
