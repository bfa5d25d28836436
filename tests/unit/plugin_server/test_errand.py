from __future__ import annotations

import pytest

from sekisho.plugin_server.errand import Errand
from sekisho.wire import CallContext, CallFrame, Inbound


def test_an_errand_stays_what_it_was() -> None:
    inbound = Inbound(1, CallFrame("prompts/get", b"{}", "", 5.0), lambda *_: None)
    errand = Errand(inbound, CallContext(), "prompts/get", {"name": "one"})
    with pytest.raises(AttributeError):
        errand.method = "resources/read"  # type: ignore[misc]  # this is what is tested
    assert errand.method == "prompts/get"
