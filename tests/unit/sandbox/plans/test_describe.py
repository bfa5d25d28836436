"""The description of a plan shows every wall and no secret."""

from __future__ import annotations

import json

import pytest

from sekisho.policy.grants import FileGrant, Grants, LimitGrant
from sekisho.sandbox.plans.describe import describe, describe_text
from sekisho.sandbox.plans.plan import Plan, plan
from sekisho.sandbox.plans.spec import Capabilities, Closure, DriverName, SandboxSpec


def drawn(*, wants_network: bool = False) -> Plan:
    grants = Grants(files=FileGrant(read_only_paths=("/data",), writable_paths=("/out",)))
    spec = SandboxSpec(
        name="notes",
        argv=("python",),
        grants=grants,
        environment={"API_KEY": "s3cret"},
        wants_network=wants_network,
    )
    closure = Closure(
        argv=("/usr/bin/python3",),
        read_only=("/usr",),
        blocked=(("/data/key", False),),
        proc_masks=("/proc/keys",),
    )
    return plan(spec, Capabilities(bwrap="/usr/bin/bwrap", machine="x86_64"), closure)


def test_the_json_form_lists_what_can_be_touched() -> None:
    shown = describe(drawn())
    assert shown["read_only"] == ["/proc/sys", "/data", "/usr"]
    assert shown["writable"] == ["/out"]
    assert shown["blocked"] == ["/proc/keys", "/proc/1", "/data/key"]
    assert shown["network"] == "none"
    assert json.loads(json.dumps(shown)) == shown


def test_the_json_form_names_variables_and_hides_their_values() -> None:
    shown = json.dumps(describe(drawn()))
    assert "API_KEY" in shown
    assert "s3cret" not in shown


def test_the_text_form_says_which_limits_are_only_watched() -> None:
    text = describe_text(drawn())
    assert "memory 512 MiB (by guard)" in text
    assert "cpu 100 % (by guard)" in text
    assert "s3cret" not in text


def test_the_text_form_says_how_the_network_is_reached() -> None:
    assert "network      none" in describe_text(drawn())
    assert "network      through the gate only" in describe_text(drawn(wants_network=True))


def test_an_empty_section_says_nothing_instead_of_vanishing() -> None:
    spec = SandboxSpec(name="notes", argv=("python",), grants=Grants())
    closure = Closure(argv=("/usr/bin/python3",))
    text = describe_text(plan(spec, Capabilities(bwrap="/usr/bin/bwrap", machine="x86_64"), closure))
    assert "writes       nothing" in text


@pytest.mark.parametrize("driver", ["bubblewrap", "landlock"])
def test_every_limit_that_was_stated_is_shown(driver: DriverName) -> None:
    stated = LimitGrant(
        max_open_files=77, max_tmp_mb=9, execution_timeout_s=12.5, start_timeout_s=7, idle_stop_s=33
    )
    spec = SandboxSpec(name="notes", argv=("python",), grants=Grants(limits=stated))
    host = Capabilities(driver=driver, bwrap="/usr/bin/bwrap", machine="x86_64", landlock_abi=6)
    made = plan(spec, host, Closure(argv=("/usr/bin/python3",)))
    text, limits = describe_text(made), describe(made)["limits"]
    for said in (
        "open files 77 each",
        "12.5 s a call, 7 s to start",
        "ended after 33 s without calls",
        " 9 MiB",
    ):
        assert said in text
    assert isinstance(limits, dict)
    assert (limits["execution_timeout_seconds"], limits["start_timeout_seconds"]) == (12.5, 7)
    assert limits["idle_stop_seconds"] == 33
    assert 9 in limits["scratch_mb"].values()  # type: ignore[union-attr]  # JSON is of many kinds


def test_a_limit_that_was_not_stated_is_not_shown() -> None:
    assert "without calls" not in describe_text(drawn())
