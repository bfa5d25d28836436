"""One page for all workers, in a format that Prometheus reads."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from sekisho.telemetry import Metrics, exposition


def test_the_tallies_of_several_workers_add_up() -> None:
    first, second = Metrics(), Metrics()
    for metrics, seconds in ((first, 2**-10), (second, 2**-9), (second, 64.0)):
        metrics.answered("notes", "add", "ok", seconds)
    _, text = exposition((first.tally, second.tally))
    found = {
        (sample.name, sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert found["sekisho_calls_total", None] == 3
    assert found["sekisho_call_seconds_bucket", "0.001"] == 1
    assert found["sekisho_call_seconds_bucket", "0.0025"] == 2
    assert found["sekisho_call_seconds_bucket", "30.0"] == 2
    assert found["sekisho_call_seconds_bucket", "+Inf"] == 3
    assert found["sekisho_call_seconds_sum", None] == 64 + 2**-9 + 2**-10


def test_the_page_says_what_it_is() -> None:
    content_type, text = Metrics().exposition()
    assert content_type.startswith("text/plain")
    assert text.endswith(b"\n")
