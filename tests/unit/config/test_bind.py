"""Nothing in a file is ignored, and every refusal says where, what and what else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sekisho.config.bind import unknown_key
from sekisho.config.locate import Source
from sekisho.errors import Misconfigured

Refused = Callable[[str], Misconfigured]

SERVER = '[[plugins.servers]]\nname = "notes"\nurl = "https://notes:8443"\n'

pytestmark = pytest.mark.requirement("A5.2")


def test_an_unknown_key_is_refused_with_the_name_that_was_meant(refused: Refused) -> None:
    error = refused("[security]\n\nmax_request_size_md = 3\n")
    assert error.message == "sekisho.toml:3: security.max_request_size_md: unknown key"
    assert error.remedy == "did you mean max_request_size_mb?"


def test_an_unknown_key_like_no_other_is_refused_with_all_that_there_are(refused: Refused) -> None:
    error = refused("[security]\ncolour = 3\n")
    assert error.message.startswith("sekisho.toml:2: security.colour: unknown key; expected one of ")
    assert "max_request_size_mb" in error.message


def test_a_key_that_has_another_name_elsewhere_is_refused_with_ours() -> None:
    source = Source()
    assert unknown_key(source, ("url",), ("command", "upstream")).remedy == "did you mean upstream?"
    assert unknown_key(source, ("url",), ("command",)).remedy == "remove the key, or correct its name"


@pytest.mark.parametrize(
    "text", ["[secrity]\n", "colour = 1\n", "[plugins.server]\n", SERVER + "tokens = 3\n"]
)
def test_unknown_tables_and_keys_are_refused_at_every_depth(refused: Refused, text: str) -> None:
    assert "unknown key" in refused(text).message


def test_a_wrong_type_is_refused_with_what_was_expected(refused: Refused) -> None:
    error = refused('[security]\nmax_request_size_mb = "10"\n')
    assert error.message == (
        "sekisho.toml:2: security.max_request_size_mb: is '10' (text); expected a whole number from 1 to 1024"
    )


def test_a_value_out_of_range_is_refused_with_the_range(refused: Refused) -> None:
    assert (
        "is 0 (a number); expected a whole number from 1"
        in refused("[security]\nmax_in_flight = 0\n").message
    )


def test_a_missing_key_is_reported_where_its_table_begins(refused: Refused) -> None:
    error = refused('[plugins]\n[[plugins.servers]]\nurl = "https://a"\n')
    assert error.message.startswith(
        "sekisho.toml:2: plugins.servers[1]: name is missing; expected a plugin name"
    )
    assert error.remedy == "add name = …"


def test_the_right_row_of_a_list_is_named(refused: Refused) -> None:
    error = refused(SERVER + '[[plugins.servers]]\nname = "b"\nurl = 7\n')
    assert error.message.startswith("sekisho.toml:6: plugins.servers[2].url: is 7 (a number)")


def test_rules_of_grants_are_reported_at_their_key(refused: Refused) -> None:
    text = SERVER + '[plugins.servers.network_policy]\nallowed_domains = ["10.0.0.1"]\n'
    error = refused(text)
    assert error.message.startswith(
        "sekisho.toml:5: plugins.servers[1].network_policy.allowed_domains: '10.0.0.1' is not a host name"
    )
    assert "never an address" in error.remedy


def test_a_rule_between_two_keys_is_reported_at_the_one_to_change(refused: Refused) -> None:
    error = refused('[core_server]\nbind_addr = "0.0.0.0:443"\ntls = "off"\n')
    assert error.message.startswith(
        'sekisho.toml:3: core_server.tls: is "off" while bind_addr is 0.0.0.0:443'
    )


@pytest.mark.parametrize(
    "text", ["core_server = 3\n", "[[security]]\n", "[plugins.servers]\n", "plugins.servers=[1]\n"]
)
def test_a_table_of_the_wrong_shape_is_refused(refused: Refused, text: str) -> None:
    assert "expected a" in refused(text).message


def test_a_value_given_to_environment_is_not_repeated(refused: Refused) -> None:
    error = refused(SERVER + 'environment = ["PASSWORD=hunter2"]\n')
    assert "hunter2" not in str(error)
    assert "names only" in error.remedy


def test_a_password_in_a_url_is_not_repeated(refused: Refused) -> None:
    assert "hunter2" not in str(refused('[[plugins.servers]]\nname = "a"\nurl = "https://me:hunter2@host"\n'))
