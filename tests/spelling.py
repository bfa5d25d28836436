"""JSON in a stranger's spelling: blanks anywhere, any character escaped, every form of a number."""

from __future__ import annotations

import json

from hypothesis import strategies as st

__all__ = ["OBJECTS", "spelled_calls", "spelled_text"]

BLANKS = st.text(alphabet=" \t\r\n", max_size=3)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.one_of(
    st.integers(), st.integers(-(10**300), 10**300), st.sampled_from([2**53 + 1, 2**64, -(2**63) - 1])
)
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def spelled_text(draw: st.DrawFn, text: str) -> str:
    """One string, each character plain or escaped."""
    parts = []
    for character in text:
        plain = character not in '"\\' and character >= " "
        form = draw(st.integers(0 if plain else 1, 3))
        if form == 0:
            parts.append(character)
        elif form == 1 and character in '"\\/':
            parts.append("\\" + character)
        else:
            pairs = character.encode("utf-16-be").hex(" ", 2).split()
            case = str.upper if form == 2 else str.lower
            parts.append("".join(f"\\u{case(pair)}" for pair in pairs))
    return '"' + "".join(parts) + '"'


@st.composite
def spelled_number(draw: st.DrawFn, number: float) -> str:
    """One number, in a form of its own type."""
    if isinstance(number, int):
        return str(number)
    forms = [repr(number), f"{number:.17e}", f"{number:.17E}", f"{number:.20e}"]
    return draw(st.sampled_from([form.replace("inf", "1e308") for form in forms]))


def _spell(draw: st.DrawFn, value: object) -> str:
    gap = draw(BLANKS)
    match value:
        case None | bool():
            inner = json.dumps(value)
        case str():
            inner = draw(spelled_text(value))
        case int() | float():
            inner = draw(spelled_number(value))
        case list():
            inner = "[" + ",".join(_spell(draw, one) for one in value) + gap + "]"
        case dict():
            pairs = [f"{gap}{draw(spelled_text(key))}{gap}:{_spell(draw, one)}" for key, one in value.items()]
            inner = "{" + ",".join(pairs) + gap + "}"
    return gap + inner + draw(BLANKS)


LEAVES = st.one_of(st.none(), st.booleans(), INTEGERS, FLOATS, TEXTS)
VALUES = st.recursive(
    LEAVES, lambda one: st.lists(one, max_size=3) | st.dictionaries(TEXTS, one, max_size=3), max_leaves=12
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)


@st.composite
def spelled_calls(draw: st.DrawFn) -> tuple[dict[str, object], bytes]:
    """Arguments, and the parameters of a call with them in somebody's own spelling."""
    arguments: dict[str, object] = {**draw(OBJECTS)}
    return arguments, ('{"name":"a","arguments":' + _spell(draw, arguments) + "}").encode()
