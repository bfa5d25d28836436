"""A file is read whole or refused whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.config import CoreConfig, PluginConfig, load_any, load_core, load_plugin
from sekisho.config.load import MAX_FILE_BYTES
from sekisho.errors import Misconfigured

pytestmark = pytest.mark.requirement("A5.2")


def test_the_two_samples_load(samples: Path) -> None:
    assert isinstance(load_core(samples / "mcp-core-config.toml"), CoreConfig)
    assert isinstance(load_plugin(samples / "wordpress-plugin-config.toml"), PluginConfig)


def test_a_file_is_recognised_by_its_tables(samples: Path) -> None:
    assert isinstance(load_any(samples / "mcp-core-config.toml"), CoreConfig)
    assert isinstance(load_any(samples / "wordpress-plugin-config.toml"), PluginConfig)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a = 1\nb = \n", ":2: invalid value; expected TOML 1.0"),
        (b"a = 1\na = 2\n", ":2: cannot overwrite a value; expected TOML 1.0"),
        (b"[x\n", ":1: "),
        (b'a = """\n\n', ":3: "),
        (b"a = 1\n\xff\n", ":2: not UTF-8; expected TOML in UTF-8"),
        (b"\xef\xbb\xbf[security]\n", ": begins with a byte order mark"),
        (b"#" * (MAX_FILE_BYTES + 1), "is larger than"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_toml_is_refused_with_its_line(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(data)
    with pytest.raises(Misconfigured) as caught:
        load_core(path)
    assert caught.value.code == "config_invalid"
    assert words in caught.value.message
    assert caught.value.message.startswith(str(path))


def test_a_file_that_is_not_there_is_refused_with_the_option_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load_core(tmp_path / "none.toml")
    assert caught.value.message.endswith("cannot be read: No such file or directory")
    assert "--config" in caught.value.remedy
    assert "README" in caught.value.remedy


def test_a_plugin_file_in_the_place_of_a_core_file_is_called_one(samples: Path) -> None:
    with pytest.raises(Misconfigured, match="is a plugin file, and a core file is asked for"):
        load_core(samples / "wordpress-plugin-config.toml")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_core(tmp_path)


def _refusal(path: Path) -> str | None:
    try:
        load_any(path)
    except Misconfigured as error:
        return error.code
    return None


@given(st.binary(max_size=200))
def test_any_bytes_are_loaded_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    assert _refusal(path) in (None, "config_invalid")


_NAMES = (
    "core_server",
    "security",
    "audit",
    "plugins",
    "servers",
    "tls",
    "log_level",
    "home",
    "plugin_server",
    "name",
)
_JSON = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 5), st.sampled_from(['"on"', '"x"'])).map(str),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda parts: "[" + ", ".join(parts) + "]"),
        st.dictionaries(st.sampled_from(_NAMES), inner, max_size=2).map(
            lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(_NAMES),
        _JSON.map(lambda text: text.replace("True", "true").replace("False", "false")),
    )
)
def test_any_shape_of_known_names_is_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "shape.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in table.items()))
    assert _refusal(path) in (None, "config_invalid")
