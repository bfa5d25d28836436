from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server.handles import MAX_OPEN, MAX_OPEN_PER_SCOPE, Handles


def _added(handles: Handles[str], scope: str, waiting: str) -> str:
    handle = handles.add(scope, waiting)
    assert handle is not None
    return handle


def test_what_waits_is_taken_once_by_its_own_scope() -> None:
    handles: Handles[str] = Handles()
    handle = _added(handles, "a", "one")
    assert handles.take(handle, "b") is None
    assert handles.take("x" + handle, "a") is None
    assert handles.look(handle, "a") == "one"
    assert handles.take(handle, "a") == "one"
    assert handles.take(handle, "a") is None
    assert len(handles) == 0


def test_a_handle_cannot_be_guessed() -> None:
    handles: Handles[int] = Handles()
    found = {handles.add(f"s{number}", number) for number in range(100)}
    assert len(found) == 100
    assert all(handle is not None and len(handle) >= 22 for handle in found)


@pytest.mark.threat("T-FLOOD")
def test_one_scope_leaves_room_for_others_and_all_together_have_a_bound() -> None:
    handles: Handles[int] = Handles()
    assert [handles.add("a", number) is None for number in range(MAX_OPEN_PER_SCOPE + 1)][-1]
    assert handles.add("b", 0) is not None
    number = 0
    while handles.add(f"s{number}", number) is not None:
        number += 1
    assert len(handles) == MAX_OPEN


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_a_scope_that_gave_all_back_has_all_its_room_again(steps: list[tuple[str, bool]]) -> None:
    handles: Handles[int] = Handles()
    held: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    for scope, takes in steps:
        if takes and held[scope]:
            assert handles.take(held[scope].pop(), scope) is not None
        else:
            handle = handles.add(scope, 0)
            if handle is not None:
                held[scope].append(handle)
    for scope, owned in held.items():
        for handle in owned:
            handles.drop(handle)
            handles.drop(handle)
        assert sum(handles.add(scope, 0) is not None for _ in range(MAX_OPEN_PER_SCOPE)) == MAX_OPEN_PER_SCOPE


def test_a_handle_is_known_while_something_waits_under_it() -> None:
    handles: Handles[str] = Handles()
    handle = _added(handles, "a", "one")
    known = [handle in handles, "x" + handle in handles]
    handles.drop(handle)
    assert [*known, handle in handles] == [True, False, False]
