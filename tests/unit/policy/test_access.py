"""Default deny, exact names, and a star that means clients only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.policy import AccessPolicy, Rule
from sekisho.protocol import PluginName

WORDPRESS = PluginName("wordpress")
NAMES = st.text(alphabet="abc", min_size=1, max_size=2)
RULES = st.builds(
    lambda client, plugin, operations: Rule(client=client, plugin=PluginName(plugin), operations=operations),
    st.one_of(NAMES, st.just("*")),
    NAMES,
    st.frozensets(NAMES, max_size=3),
)


@pytest.mark.requirement("A2.2")
@pytest.mark.threat("T-OPERATION")
def test_an_operation_outside_the_rule_is_refused() -> None:
    policy = AccessPolicy([Rule(client="ci", plugin=WORDPRESS, operations=frozenset({"list_posts"}))])
    assert policy.permits("ci", WORDPRESS, "list_posts")
    assert not policy.permits("ci", WORDPRESS, "create_post")
    assert not policy.permits("ci", PluginName("github"), "list_posts")
    assert not policy.permits("other", WORDPRESS, "list_posts")


@pytest.mark.threat("T-OPERATION")
def test_an_empty_rule_set_refuses() -> None:
    assert not AccessPolicy([]).permits("ci", WORDPRESS, "list_posts")
    no_operations = Rule(client="*", plugin=WORDPRESS, operations=frozenset())
    assert not AccessPolicy([no_operations]).permits("ci", WORDPRESS, "list_posts")


def test_a_star_means_every_named_client_and_nobody_else() -> None:
    policy = AccessPolicy([Rule(client="*", plugin=WORDPRESS, operations=frozenset({"list_posts"}))])
    assert policy.permits("anyone", WORDPRESS, "list_posts")
    assert not policy.permits("", WORDPRESS, "list_posts")
    assert not policy.permits("*", WORDPRESS, "list_posts")


@pytest.mark.parametrize("operation", ["*", "list_*", ""])
def test_operations_are_written_out(operation: str) -> None:
    with pytest.raises(Misconfigured):
        Rule(client="ci", plugin=WORDPRESS, operations=frozenset({operation}))


def test_a_rule_without_a_client_is_a_mistake() -> None:
    with pytest.raises(Misconfigured):
        Rule(client="", plugin=WORDPRESS, operations=frozenset())


@given(rules=st.lists(RULES, max_size=5), client=NAMES, plugin=NAMES, operation=NAMES)
def test_a_permit_is_always_stated_by_some_rule(
    rules: list[Rule], client: str, plugin: str, operation: str
) -> None:
    stated = any(
        rule.client in (client, "*") and rule.plugin == plugin and operation in rule.operations
        for rule in rules
    )
    assert AccessPolicy(rules).permits(client, PluginName(plugin), operation) is stated
