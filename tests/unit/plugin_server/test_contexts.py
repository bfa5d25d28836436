from __future__ import annotations

import msgspec
import pytest

from sekisho.errors import Misconfigured, RemoteProtocolError
from sekisho.plugin_server import contexts
from sekisho.plugin_server.contexts import Contexts
from sekisho.wire import CallContext, encode_context

AYA = encode_context(CallContext(scope="aya", style="stream"))


def test_the_context_of_a_session_is_read_once() -> None:
    known = Contexts("")
    first = known.read(AYA)
    assert first.context == CallContext(scope="aya", style="stream")
    assert first.is_plain
    assert known.read(AYA) is first
    assert known.get(AYA) is first


@pytest.mark.parametrize(
    "context",
    [
        CallContext(scope="aya", meta=msgspec.Raw(b'{"traceparent":"00"}')),
        CallContext(scope="aya", input_responses=msgspec.Raw(b'{"q":{}}')),
        CallContext(scope="aya", request_state="s"),
    ],
)
def test_what_is_said_of_one_call_alone_is_not_kept(context: CallContext) -> None:
    known, text = Contexts(""), encode_context(context)
    assert not known.read(text).is_plain
    assert known.get(text) is None


def test_of_a_call_without_context_nothing_is_known_afterwards_either() -> None:
    known = Contexts("")
    assert known.read(b"").context == CallContext()
    assert known.get(b"") is None


def test_a_context_of_another_instance_is_refused_and_its_own_is_not() -> None:
    text = encode_context(CallContext(scope="aya", instance="one"))
    assert Contexts("one").read(text).context.instance == "one"
    for other in ("", "two"):
        with pytest.raises(Misconfigured):
            Contexts(other).read(text)


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"unknown":1}', b"\xff"])
def test_what_is_no_context_is_refused_and_not_kept(text: bytes) -> None:
    known = Contexts("")
    with pytest.raises(RemoteProtocolError):
        known.read(text)
    assert known.get(text) is None


@pytest.mark.interpreted
@pytest.mark.threat("T-FLOOD")
def test_sessions_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "MAX_CONTEXTS", 4)
    known = Contexts("")
    texts = [encode_context(CallContext(scope=f"s{number}")) for number in range(20)]
    for text in texts:
        known.read(text)
    assert sum(known.get(text) is not None for text in texts) <= 4
