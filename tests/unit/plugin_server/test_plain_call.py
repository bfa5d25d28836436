from __future__ import annotations

import pytest

from sekisho.errors import Unavailable
from sekisho.plugin_server.contexts import Contexts
from sekisho.plugin_server.exchange import Exchange
from sekisho.plugin_server.plain_call import PlainCall
from sekisho.plugin_server.roster import Entry
from sekisho.plugin_server.session import Answer, PluginSession
from sekisho.protocol import JsonLimits
from sekisho.wire import CallContext, CallFrame, Inbound, encode_context
from sekisho.wire.frames import Kind

QUESTION = b'{"resultType":"input_required","inputRequests":{}}'


class Notebook:
    """An owner that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def promote(self, call: PlainCall) -> Exchange:
        raise AssertionError("nobody asked for the exchange")

    def finish(self, call: PlainCall, answer: Answer) -> None:
        self.told.append(answer)

    def withdraw(self, call: PlainCall, reason: str) -> None:
        self.told.append(reason)

    def overdue(self, call: PlainCall) -> None:
        self.told.append("overdue")


class Scene:
    """One call and what its caller hears."""

    def __init__(self, context: CallContext | None = None, *, modern: bool = False) -> None:
        self.owner = Notebook()
        self.heard: list[tuple[Kind, bytes | memoryview]] = []
        self.entries: dict[Inbound | Exchange, Entry] = {}
        known = None if context is None else Contexts("").read(encode_context(context))
        frame = CallFrame("echo", b"{}", "", 5.0)
        inbound = Inbound(1, frame, lambda _, kind, payload: self.heard.append((kind, payload)))
        session = PluginSession(limits=JsonLimits(), modern=modern)
        self.call = PlainCall(
            self.owner,
            inbound,
            under_way=self.entries,
            session=session,
            deadline=10.0,
            timeout_s=5.0,
            known=known,
        )
        self.entries[inbound] = self.call


def test_a_result_reaches_the_caller_without_a_detour_and_only_once() -> None:
    scene = Scene()
    scene.call(b'{"content":[]}')
    scene.call(b'{"content":[1]}')
    assert scene.heard == [(Kind.RESULT, b'{"content":[]}')]
    assert not scene.entries
    assert not scene.owner.told


def test_a_large_result_is_passed_on_from_where_it_lies_and_only_once() -> None:
    scene, place = Scene(), bytearray(b'[{"content":[]}]')
    scene.call.take_large(place, 1, len(place) - 1)
    scene.call.take_large(place, 0, 3)
    [(kind, view)] = scene.heard
    assert (kind, view) == (Kind.RESULT, b'{"content":[]}')
    assert isinstance(view, memoryview)
    assert view.obj is place
    assert not scene.entries


def test_a_large_question_is_the_owners_as_bytes_of_its_own() -> None:
    scene, place = Scene(modern=True), bytearray(b"[" + QUESTION + b"]")
    scene.call.take_large(place, 1, len(place) - 1)
    place[:] = bytes(len(place))
    assert (scene.owner.told, scene.heard) == ([QUESTION], [])
    old = Scene()
    old.call.take_large(b"[" + QUESTION + b"]", 1, len(QUESTION) + 1)
    assert old.heard == [(Kind.RESULT, QUESTION)]


def test_a_result_that_only_looks_like_a_question_of_the_newer_era_is_an_old_plugins_result() -> None:
    scene = Scene()
    scene.call(QUESTION)
    assert scene.heard == [(Kind.RESULT, QUESTION)]


def test_a_question_of_a_modern_plugin_and_whatever_is_no_result_is_the_owners() -> None:
    gone = Unavailable("plugin_exited", "gone")
    for scene, answer in ((Scene(modern=True), QUESTION), (Scene(), gone)):
        scene.call(answer)
        assert scene.owner.told == [answer]
        assert not scene.heard


@pytest.mark.parametrize(
    ("context", "scope", "can_be_asked"),
    [
        (None, "", False),
        (CallContext(scope="s"), "s", False),
        (CallContext(scope="s", may_ask=("elicitation",)), "s", True),
        (CallContext(scope="s", may_ask=("tasks", "apps")), "s", False),
        (CallContext(may_ask=("elicitation",)), "", False),
    ],
)
def test_it_knows_whose_it_is_and_whether_somebody_can_be_asked(
    context: CallContext | None, scope: str, *, can_be_asked: bool
) -> None:
    call = Scene(context).call
    assert (call.scope, call.can_be_asked, call.is_asking) == (scope, can_be_asked, False)


def test_its_withdrawal_and_its_time_are_the_owners_too() -> None:
    scene = Scene()
    scene.call.withdraw("gone")
    scene.call.overdue()
    assert scene.owner.told == ["gone", "overdue"]
