"""The family of faults: closed, with one stable code each."""

from __future__ import annotations

from sekisho.plugin import faults
from sekisho.plugin.faults import PluginFault, RateLimited


def _family() -> list[type[PluginFault]]:
    members = (getattr(faults, name) for name in faults.__all__)
    return [one for one in members if one is not PluginFault]


def test_every_fault_is_of_the_family_and_has_a_code_of_its_own() -> None:
    codes = [one.code for one in _family()]
    assert all(issubclass(one, PluginFault) for one in _family())
    assert len(set(codes)) == len(codes)


def test_a_fault_says_its_code_and_its_words_and_nothing_else() -> None:
    fault = RateLimited("wait a little", retry_after_s=3)
    assert str(fault) == "[rate_limited] wait a little"
    assert fault.retry_after_s == 3
