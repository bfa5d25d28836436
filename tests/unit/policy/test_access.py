"""Default deny, exact names, and a star that means clients only."""

from typing import Any

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


READS = frozenset({"prompts/get", "resources/read"})
CI = "ci"


def rule(**fields: Any) -> Rule:
    return Rule(**{"client": CI, "plugin": WORDPRESS, "operations": frozenset(), "methods": READS, **fields})


def test_a_method_is_an_operation_like_a_tool() -> None:
    policy = AccessPolicy([rule(methods=frozenset({"completion/complete"}))])
    assert policy.permits(CI, WORDPRESS, "completion/complete")
    assert not policy.permits(CI, WORDPRESS, "logging/setLevel")
    assert not AccessPolicy([rule(methods=frozenset())]).permits(CI, WORDPRESS, "prompts/get")


@pytest.mark.parametrize("word", ["tools/call", "prompts/*", "", "prompts"])
def test_a_word_that_is_no_method_is_a_mistake(word: str) -> None:
    with pytest.raises(Misconfigured):
        rule(methods=frozenset({word}))
    with pytest.raises(Misconfigured):
        rule(operations=frozenset({"prompts/get"}))


def test_prompts_and_resources_are_refused_unless_a_rule_names_them() -> None:
    policy = AccessPolicy([rule()])
    assert not policy.permits_prompt(CI, WORDPRESS, "greet")
    assert not policy.permits_resource(CI, WORDPRESS, "file:///a")


def test_no_narrowing_means_every_approved_one() -> None:
    policy = AccessPolicy([rule(client="*", prompts=None, resources=None)])
    assert policy.permits_prompt(CI, WORDPRESS, "greet")
    assert policy.permits_resource(CI, WORDPRESS, "file:///../a")
    assert not policy.permits_prompt("", WORDPRESS, "greet")
    assert not policy.permits_resource("*", WORDPRESS, "file:///a")
    assert not policy.permits_prompt(CI, PluginName("github"), "greet")


def test_names_without_the_method_allow_nothing() -> None:
    policy = AccessPolicy([rule(methods=frozenset(), prompts=None, resources=None)])
    assert not policy.permits_prompt(CI, WORDPRESS, "greet")
    assert not policy.permits_resource(CI, WORDPRESS, "file:///a")


@pytest.mark.threat("T-OPERATION")
def test_only_the_listed_prompts_and_resources_are_allowed() -> None:
    policy = AccessPolicy(
        [rule(prompts=frozenset({"greet"}), resources=frozenset({"file:///pub/*", "note://1"}))]
    )
    assert policy.permits_prompt(CI, WORDPRESS, "greet")
    assert not policy.permits_prompt(CI, WORDPRESS, "greet2")
    for uri in ("file:///pub/a", "file:///pub/", "file:///pub/a..b/c", "file:///pub/%61", "note://1"):
        assert policy.permits_resource(CI, WORDPRESS, uri), uri
    for uri in ("file:///pub", "file:///private", "note://11", "FILE:///pub/a", ""):
        assert not policy.permits_resource(CI, WORDPRESS, uri), uri


@pytest.mark.threat("T-OPERATION")
@pytest.mark.parametrize(
    "step", ["../secret", "a/../../secret", "..", "%2e%2e/secret", "%2E./secret", "..%2fsecret", "..\\secret",
             "%252e%252e/secret", "a%5c..%5csecret", "%25252525252e%25252525252e", "..?x", "..#x"]
)  # fmt: skip
def test_no_step_upwards_leaves_an_allowed_beginning(step: str) -> None:
    policy = AccessPolicy([rule(resources=frozenset({"file:///pub/*"}))])
    assert not policy.permits_resource(CI, WORDPRESS, "file:///pub/" + step)


@pytest.mark.parametrize("uri", ["", "a*b", "**", "*a"])
def test_a_star_stands_at_the_end_of_a_uri_only(uri: str) -> None:
    with pytest.raises(Misconfigured):
        rule(resources=frozenset({uri}))


def test_a_prompt_with_a_star_is_that_prompt() -> None:
    policy = AccessPolicy([rule(prompts=frozenset({"say*"}))])
    assert policy.permits_prompt(CI, WORDPRESS, "say*")
    assert not policy.permits_prompt(CI, WORDPRESS, "say it")


def test_who_may_use_nothing_of_a_plugin_is_told_nothing_of_it() -> None:
    policy = AccessPolicy([rule(client="*", methods=frozenset()), rule(operations=frozenset({"list_posts"}))])
    assert policy.permits_any(CI, WORDPRESS)
    assert not policy.permits_any("other", WORDPRESS)
    assert not policy.permits_any("", WORDPRESS)
    assert AccessPolicy([rule(client="*")]).permits_any("other", WORDPRESS)


URIS = st.text("ab/.%2e*", min_size=1, max_size=6)


@given(base=st.lists(URIS, max_size=3), more=st.lists(URIS, max_size=3), uri=URIS)
def test_another_rule_never_allows_less(base: list[str], more: list[str], uri: str) -> None:
    def usable(names: list[str]) -> frozenset[str]:
        return frozenset(name.replace("*", "") + ("*" if "*" in name else "") or "x" for name in names)

    first, second = rule(resources=usable(base)), rule(client="*", resources=usable(more))
    both = AccessPolicy([first, second]).permits_resource(CI, WORDPRESS, uri)
    each = [AccessPolicy([one]).permits_resource(CI, WORDPRESS, uri) for one in (first, second)]
    assert both is any(each)
