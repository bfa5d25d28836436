"""A place is never given to two at once, however long somebody looks at it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.protocol.places import MAX_KEPT_BYTES, Places, new_place, place_of


@given(
    st.lists(st.tuples(st.sampled_from(["take", "slice", "let go"]), st.integers(1, 400)), max_size=60),
    st.integers(1, 4),
)
def test_what_somebody_looks_at_is_never_written_over(steps: list[tuple[str, int]], most: int) -> None:
    """Everybody fills the place it takes, keeps a view of it or of a part for a while, and still finds what it wrote."""
    places = Places(most)
    held: list[tuple[memoryview, bytes]] = []
    for number, (step, size) in enumerate(steps):
        if step == "take":
            view, mark = places.take(size), bytes([number % 256]) * size
            assert len(view) == size
            view[:] = mark
            held.append((view, mark))
            del view
        elif step == "slice" and held:
            view, mark = held.pop(size % len(held))
            cut = size % (len(mark) + 1)
            held.append((view[cut:].toreadonly(), mark[cut:]))
            del view
        elif held:
            held.pop(size % len(held))
        assert all(bytes(view) == mark for view, mark in held)
        assert places.kept_bytes <= most * 400


def test_a_place_is_used_again_when_nobody_looks_and_no_sooner() -> None:
    places = Places(1)
    view = places.take(100)
    first = place_of(view)
    part = view[90:].toreadonly()
    del view
    assert place_of(places.take(100)) is not first, "a part of it is looked at"
    del part
    second = place_of(places.take(100))
    assert second is not first, "the one before is forgotten, there is place for one"
    assert place_of(places.take(80)) is second
    assert len(second) == 80, "what stood behind is gone"


def test_neither_many_nor_huge_ones_are_kept_and_none_for_ever() -> None:
    places = Places(2)
    views = [places.take(10) for _ in range(5)]
    assert places.kept_bytes == 20
    places.take(MAX_KEPT_BYTES + 1)
    assert places.kept_bytes == 20
    places.drop()
    assert places.kept_bytes == 0
    assert [len(view) for view in views] == [10] * 5, "who looks at one keeps it"


def test_a_view_of_something_else_is_copied() -> None:
    place = bytearray(b"abcdef")
    assert place_of(memoryview(place)) is place
    for view in (memoryview(place)[1:], memoryview(place)[:3], memoryview(b"abc")):
        copy = place_of(view)
        assert (copy, copy is place) == (bytearray(view), False)


def test_an_empty_place_is_possible() -> None:
    places = Places(1)
    assert [bytes(places.take(0)), bytes(places.take(0)), len(places.take(3))] == [b"", b"", 3]


def test_a_new_place_is_empty_and_does_not_begin_where_its_memory_begins() -> None:
    place = new_place(1000)
    assert place == bytes(1000)
    assert place.__alloc__() >= 1000 + 64
    Places(1).take(1000)[:] = b"x" * 1000
    assert new_place(1000) == bytes(1000)
