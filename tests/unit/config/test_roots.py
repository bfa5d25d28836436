"""The setting `roots`: the sample unchanged, tables in the file itself, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.config import load_core, load_plugin, warnings_of
from sekisho.config.roots import roots
from sekisho.errors import Misconfigured
from sekisho.policy.roots import Root

SAMPLES = Path(__file__).parents[2] / "samples"
TRUSTED = Root(uri="file:///app/trusted", name="trusted tool store", read=True)
ENDPOINT = Root(
    uri="https://api.example.com", name="verified API endpoint", reaches=(("api.example.com", 443),)
)


def one(**more: object) -> tuple[Root, ...]:
    return roots().read([{"uri": "file:///a", "name": "a", **more}], Path())


def leaves(**given: object) -> dict[str, object]:
    return {"deno": {key.replace("_", "-"): value for key, value in given.items()}}


@pytest.mark.requirement("B8")
def test_the_sample_loads_unchanged() -> None:
    assert roots().read("roots.yaml", SAMPLES) == (TRUSTED, ENDPOINT)


def test_a_plugin_file_may_name_it_or_hold_the_tables(tmp_path: Path) -> None:
    grants = """
[plugin_server]
name = "tool"
command = ["python3", "server.py"]
[network_policy]
allowed_domains = ["api.example.com", "other.example.com"]
[filesystem_policy]
read_only_paths = ["/app"]
writable_paths = ["/srv/data"]
"""
    tables = """
[[roots]]
uri = "file:///app/trusted"
name = "trusted tool store"
permissions = { deno = { allow-read = true, allow-write = false } }
[[roots]]
uri = "https://api.example.com"
name = "verified API endpoint"
permissions.deno.allow-net = "api.example.com"
"""
    (tmp_path / "roots.yaml").write_bytes((SAMPLES / "roots.yaml").read_bytes())
    for number, text in enumerate((f'roots = "roots.yaml"\n{grants}', grants + tables)):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        workload = load_plugin(path).workload
        assert workload.roots == (TRUSTED, ENDPOINT)
        assert workload.grants.files.read_only_paths == ("/app/trusted",)
        assert workload.grants.files.writable_paths == ()
        assert workload.grants.network.allowed_domains == ("api.example.com",)
        assert workload.grants.network.allowed_ports == (443,)


def test_a_core_file_narrows_what_runs_here_and_keeps_what_runs_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "roots.yaml").write_bytes((SAMPLES / "roots.yaml").read_bytes())
    path = tmp_path / "sekisho.toml"
    path.write_text(
        """
[[plugins.servers]]
name = "here"
command = ["python3", "server.py"]
roots = "roots.yaml"
[plugins.servers.filesystem_policy]
read_only_paths = ["/app"]

[[plugins.servers]]
name = "elsewhere"
url = "https://plugin.example.com:8443"
roots = "roots.yaml"

[[plugins.servers]]
name = "none"
command = ["python3", "server.py"]
[plugins.servers.filesystem_policy]
read_only_paths = ["/app"]
"""
    )
    config = load_core(path)
    here, elsewhere, none = (entry.workload for entry in config.plugins.servers)
    assert here.roots == (TRUSTED,)
    assert here.grants.files.read_only_paths == ("/app/trusted",)
    assert elsewhere.roots == (TRUSTED, ENDPOINT)
    assert none.roots is None
    assert none.grants.files.read_only_paths == ("/app",)
    (warning,) = warnings_of(config)
    assert warning.startswith("here.roots: root https://api.example.com gives nothing: network_policy")


def test_a_plugin_learns_or_has_roots(tmp_path: Path) -> None:
    path = tmp_path / "plugin.toml"
    path.write_text('roots = []\n[plugin_server]\nname = "a"\n[network_policy]\nmode = "learn"\n')
    with pytest.raises(Misconfigured, match=r"roots.*learn"):
        load_plugin(path)


def test_an_empty_list_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "plugin.toml"
    path.write_text(
        'roots = []\n[plugin_server]\nname = "a"\n[filesystem_policy]\nread_only_paths = ["/app"]\n'
    )
    workload = load_plugin(path).workload
    assert workload.roots == ()
    assert workload.grants.files.read_only_paths == ()


@pytest.mark.parametrize(
    ("given", "read", "write"),
    [
        ({}, False, False),
        ({"allow_read": True}, True, False),
        ({"allow_write": True}, True, True),
        ({"allow_read": True, "allow_write": True}, True, True),
        ({"allow_read": False, "allow_write": False}, False, False),
    ],
)
def test_the_leaves_of_a_folder(given: dict[str, object], read: bool, write: bool) -> None:
    (root,) = one(permissions=leaves(**given))
    assert (root.read, root.write) == (read, write)


@pytest.mark.parametrize(
    ("uri", "net", "expected"),
    [
        ("https://x.example.com", True, (("x.example.com", 443),)),
        ("http://x.example.com", True, (("x.example.com", 80),)),
        ("https://x.example.com:8443", "x.example.com", (("x.example.com", 8443),)),
        (
            "https://x.example.com",
            ["X.example.com", "y.example.com:8080"],
            (("x.example.com", 443), ("y.example.com", 8080)),
        ),
        ("https://x.example.com", False, ()),
    ],
)
def test_the_leaves_of_a_site(uri: str, net: object, expected: tuple[tuple[str, int], ...]) -> None:
    (root,) = roots().read([{"uri": uri, "permissions": leaves(allow_net=net)}], Path())
    assert root.reaches == expected


@pytest.mark.parametrize(
    "value",
    [
        1,
        "",
        "~/roots.yaml",
        {"uri": "file:///a"},
        [1],
        [{}],
        [{"uri": 1}],
        [{"uri": "file:///a", "name": 1}],
        [{"uri": "file:///a", "name": "a\nb"}],
        [{"uri": "file:///a", "more": 1}],
        [{"uri": "file:///a", "permissions": 1}],
        [{"uri": "file:///a", "permissions": {"node": {}}}],
        [{"uri": "file:///a", "permissions": leaves(allow_run=True)}],
        [{"uri": "file:///a", "permissions": leaves(allow_read="yes")}],
        [{"uri": "file:///a", "permissions": leaves(allow_read=False, allow_write=True)}],
        [{"uri": "file:///a", "permissions": leaves(allow_net=True)}],
        [{"uri": "https://a.example", "permissions": leaves(allow_read=True)}],
        [{"uri": "https://a.example", "permissions": leaves(allow_net="127.0.0.1")}],
        [{"uri": "https://a.example", "permissions": leaves(allow_net="*.example")}],
        [{"uri": "https://a.example", "permissions": leaves(allow_net="a.example:0")}],
        [{"uri": "https://a.example", "permissions": leaves(allow_net="a.example:x")}],
        [{"uri": "https://a.example", "permissions": leaves(allow_net=[])}],
        [{"uri": "https://a.example", "permissions": leaves(allow_net=[1])}],
        [{"uri": "https://[a", "permissions": leaves(allow_net=True)}],
        [{"uri": "file:///a"}, {"uri": "file:///a/"}],
        [{"uri": f"file:///{number}"} for number in range(257)],
    ],
)
def test_what_cannot_be_honoured_is_refused(value: object) -> None:
    with pytest.raises(Misconfigured):
        roots().read(value, Path())


def test_a_refusal_says_which_root_and_what_to_write() -> None:
    with pytest.raises(Misconfigured, match="member 1: root 'file:///' is the whole file system") as caught:
        roots().read([{"uri": "file:///"}], Path())
    assert caught.value.remedy == "name the folders it needs"
