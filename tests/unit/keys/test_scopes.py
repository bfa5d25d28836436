from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.keys import Principal, ScopePolicy

POLICY = ScopePolicy(
    ("mcp",), {"web": ("web",)}, {("web", "write"): ("web", "web:write"), ("git", "push"): ("git:push",)}
)


def client(*scopes: str) -> Principal:
    return Principal(client="corp:a", issuer="corp", scopes=frozenset(scopes))


def test_everything_that_is_needed_is_named_not_only_what_is_missing() -> None:
    assert POLICY.missing_scopes(client("mcp", "web"), "web", "write") == ("mcp", "web", "web:write")
    assert POLICY.missing_scopes(client(), "web", "read") == ("mcp", "web")
    assert POLICY.missing_scopes(client("mcp"), "git", "push") == ("mcp", "git:push")
    assert POLICY.missing_scopes(client(), None, None) == ("mcp",)


def test_who_has_everything_goes_on() -> None:
    assert POLICY.missing_scopes(client("mcp", "web", "web:write", "more"), "web", "write") == ()
    assert POLICY.missing_scopes(client("mcp"), "git", "pull") == ()
    assert POLICY.missing_scopes(client("mcp"), None, "tools/list") == ()


def test_a_static_token_needs_no_scope() -> None:
    assert POLICY.missing_scopes(Principal(client="me"), "web", "write") == ()


def test_what_can_be_asked_for_is_listed() -> None:
    assert POLICY.everything == ("mcp", "web", "web:write", "git:push")
    assert POLICY.of_plugin("web") == ("mcp", "web", "web:write")
    assert POLICY.of_plugin("git") == ("mcp", "git:push")
    assert POLICY.of_plugin("other") == ("mcp",)
    assert ScopePolicy().everything == ()


NAMES = st.sampled_from(["web", "git", "x"])
SCOPES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=3).map(tuple)


@given(
    everywhere=SCOPES,
    by_plugin=st.dictionaries(NAMES, SCOPES),
    by_operation=st.dictionaries(st.tuples(NAMES, NAMES), SCOPES),
    where=st.tuples(NAMES, NAMES),
    more=SCOPES,
)
def test_a_further_rule_never_needs_less(
    *,
    everywhere: tuple[str, ...],
    by_plugin: dict[str, tuple[str, ...]],
    by_operation: dict[tuple[str, str], tuple[str, ...]],
    where: tuple[str, str],
    more: tuple[str, ...],
) -> None:
    plugin, operation = where
    before = ScopePolicy(everywhere, by_plugin, by_operation).needed(plugin, operation)
    stricter = ScopePolicy(everywhere, by_plugin | {plugin: by_plugin.get(plugin, ()) + more}, by_operation)
    assert set(stricter.needed(plugin, operation)) == set(before) | set(more)
    assert set(everywhere) <= set(before)
