"""The plan: grants become mounts in the right order, and nothing else is visible."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.plan import Plan, plan
from sekisho.sandbox.plans.spec import CERTIFICATE_PATH, Capabilities, Closure, Link, SandboxSpec

CGROUPS = (("memory", "/cg/memory"), ("pids", "/cg/pids"), ("cpu", "/cg/cpu"))
HOST = Capabilities(bwrap="/usr/bin/bwrap", machine="x86_64", cgroup="v1", cgroup_parents=CGROUPS)
FOUND = Closure(
    argv=("/opt/venv/bin/python", "server.py"),
    read_only=("/usr", "/opt/venv"),
    links=(Link(path="/bin", target="usr/bin"),),
    localtime=b"TZif",
    zone="Asia/Tokyo",
)


def draw(
    files: FileGrant | None = None,
    *,
    closure: Closure = FOUND,
    host: Capabilities = HOST,
    limits: LimitGrant | None = None,
    network: NetworkGrant | None = None,
    wants_network: bool = False,
    environment: dict[str, str] | None = None,
) -> Plan:
    grants = Grants(
        files=files or FileGrant(), limits=limits or LimitGrant(), network=network or NetworkGrant()
    )
    spec = SandboxSpec(
        name="notes",
        argv=("python", "server.py"),
        grants=grants,
        wants_network=wants_network,
        environment=environment or {},
    )
    return plan(spec, host, closure)


def visible(drawn: Plan, path: str) -> str:
    """What the last mount over a path makes of it: the kernel's own rule."""
    access = "none"
    for mount in drawn.mounts:
        if path == mount.path or path.startswith(mount.path + "/"):
            access = {"read": "read", "write": "write"}.get(mount.kind, "none")
    return access


def words(drawn: Plan) -> str:
    return " ".join(drawn.argv)


@pytest.mark.threat("T-READ-HOST")
def test_nothing_of_the_host_is_inside_unless_it_is_listed() -> None:
    drawn = draw()
    bound = {mount.source for mount in drawn.mounts if mount.kind in {"read", "write"}}
    assert bound == {"/usr", "/opt/venv", "/proc/sys"}
    assert "--bind" not in drawn.argv


def test_every_namespace_is_new_and_no_capability_stays() -> None:
    text = words(draw())
    for option in ("user", "ipc", "pid", "uts", "net"):
        assert f"--unshare-{option} " in text
    assert "--cap-drop ALL" in text
    assert "--die-with-parent --new-session" in text
    assert "--hostname plugin" in text


def test_with_a_network_the_namespace_of_the_gate_is_kept() -> None:
    drawn = draw(wants_network=True)
    assert "--unshare-net" not in drawn.argv
    assert drawn.wants_network


def test_proxy_variables_point_at_the_gate_in_both_cases() -> None:
    for wants_network in (False, True):
        environment = draw(wants_network=wants_network, environment={"HTTP_PROXY": "http://evil"}).environment
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            assert environment[name] == "http://127.0.0.1:3128"
        assert "127.0.0.1" in environment["NO_PROXY"]


def test_a_granted_localhost_is_reached_through_the_gate() -> None:
    drawn = draw(network=NetworkGrant(allow_localhost=True, localhost_ports=(5432,)), wants_network=True)
    assert "NO_PROXY" not in drawn.environment


def test_the_environment_is_the_given_one_and_a_fixed_part() -> None:
    drawn = draw(environment={"API_KEY": "s3cret", "HOME": "/root", "PATH": "/evil"})
    assert drawn.environment["API_KEY"] == "s3cret"
    assert drawn.environment["HOME"] == "/home/plugin"
    assert drawn.environment["PATH"] == "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"
    assert "--clearenv" in drawn.argv


def test_a_printed_plan_shows_no_environment_value() -> None:
    drawn = draw(environment={"API_KEY": "s3cret"})
    assert "s3cret" not in words(drawn)
    assert "s3cret" not in repr(drawn)
    assert "s3cret" in drawn.options


def test_an_environment_value_that_looks_like_an_option_stays_a_value() -> None:
    drawn = draw(environment={"X": "--"})
    at = drawn.options.index("X")
    assert drawn.options[at - 1 : at + 2] == ("--setenv", "X", "--")
    assert drawn.command == FOUND.argv


@pytest.mark.threat("T-READ-HOST")
def test_a_blocked_path_inside_a_granted_one_is_covered_and_the_cover_is_read_only() -> None:
    closure = replace(FOUND, blocked=(("/data/secret", True), ("/data/key.pem", False)))
    drawn = draw(FileGrant(writable_paths=("/data",), blocked_paths=("/data/secret",)), closure=closure)
    assert visible(drawn, "/data/secret/x") == "none"
    assert visible(drawn, "/data/key.pem") == "none"
    text = words(drawn)
    assert "--tmpfs /data/secret" in text
    assert "--remount-ro /data/secret" in text
    assert "--ro-bind /dev/null /data/key.pem" in text


@pytest.mark.requirement("A5.1")
def test_the_blocks_of_the_sample_file_say_what_holds_in_any_case() -> None:
    files = FileGrant(read_only_paths=("/app/config",), writable_paths=("/tmp/plugin-cache",))
    blocked = replace(FOUND, blocked=(("/", True), ("/etc", True), ("/var", True)))
    drawn = draw(files, closure=blocked)
    assert drawn.mounts == draw(files).mounts
    assert visible(drawn, "/app/config/x") == "read"
    assert (
        visible(drawn, "/app/other") == visible(drawn, "/var/log") == visible(drawn, "/etc/shadow") == "none"
    )


def test_the_private_etc_names_nobody_of_the_host() -> None:
    drawn = draw()
    assert drawn.data["/etc/passwd"].decode().count("\n") == 2
    assert drawn.data["/etc/resolv.conf"].startswith(b"nameserver 127.0.0.1\n")
    assert drawn.data["/etc/localtime"] == b"TZif"
    assert drawn.data["/etc/timezone"] == b"Asia/Tokyo\n"
    assert "--file {fd:/etc/passwd} /etc/passwd" in words(drawn)


def test_private_files_are_written_before_anything_of_the_host_is_bound() -> None:
    # Were /etc bound first, bwrap would write our files into the host's own folder.
    drawn = draw(FileGrant(writable_paths=("/etc",)))
    kinds = [mount.kind for mount in drawn.mounts]
    assert max(i for i, kind in enumerate(kinds) if kind == "file") < min(
        i for i, mount in enumerate(drawn.mounts) if mount.kind == "write"
    )


def test_scratch_space_is_bounded() -> None:
    drawn = draw(limits=LimitGrant(max_tmp_mb=5))
    sizes = {mount.path: mount.size for mount in drawn.mounts if mount.kind == "tmpfs"}
    assert sizes["/tmp"] == sizes["/home/plugin"] == 5 << 20
    assert 0 < sizes["/dev/shm"] <= 16 << 20


def test_the_root_and_dev_are_read_only_in_the_end() -> None:
    argv = draw().argv
    at = argv.index("--clearenv")
    assert argv[at - 4 : at] == ("--remount-ro", "/dev", "--remount-ro", "/")


def test_parts_of_proc_are_covered() -> None:
    closure = replace(FOUND, proc_masks=("/proc/acpi", "/proc/keys"), proc_folders=("/proc/acpi",))
    text = words(draw(closure=closure))
    assert "--tmpfs /proc/acpi" in text
    assert "--ro-bind /dev/null /proc/keys" in text


@pytest.mark.threat("T-READ-HOST")
def test_the_first_process_that_bwrap_leaves_inside_is_out_of_the_plugins_sight() -> None:
    assert "--tmpfs /proc/1 " in words(draw())
    own = draw(host=replace(HOST, driver="native"))
    assert "/proc/1" not in {mount.path for mount in own.mounts}, (
        "ours closes its memory, and reads of itself"
    )


def test_a_missing_wall_refuses_and_names_itself() -> None:
    with pytest.raises(Misconfigured, match="user namespaces: denied") as caught:
        draw(host=replace(HOST, missing=("user namespaces: denied",)))
    assert caught.value.code == "sandbox_unavailable"
    with pytest.raises(Misconfigured, match="bwrap is not installed"):
        draw(host=replace(HOST, bwrap=None))


def test_the_filter_digest_is_of_the_filter() -> None:
    drawn = draw()
    assert drawn.filter_digest == "sha256:" + hashlib.sha256(drawn.data["filter"]).hexdigest()


def test_a_mount_is_a_value() -> None:
    assert Mount(kind="read", path="/a", source="/a") == Mount(kind="read", path="/a", source="/a")


def test_the_certificate_of_the_gate_stands_inside_for_reading_and_elsewhere_nothing_does() -> None:
    spec = SandboxSpec(
        name="notes",
        argv=("python", "server.py"),
        grants=Grants(),
        certificate=b"-----BEGIN CERTIFICATE-----\n",
    )
    drawn = plan(spec, HOST, FOUND)
    assert drawn.data[CERTIFICATE_PATH] == spec.certificate
    assert f"--perms 0444 --file {{fd:{CERTIFICATE_PATH}}} {CERTIFICATE_PATH}" in words(drawn)
    assert CERTIFICATE_PATH not in draw().data


def test_the_folders_around_an_exception_are_mounts_that_cannot_be_renamed() -> None:
    blocked = (("/data/c/d/key", False), ("/data/a/b/ro/e/key", False))
    drawn = draw(
        FileGrant(writable_paths=("/data",), read_only_paths=("/data/a/b/ro", "/ro/x/y")),
        closure=replace(FOUND, blocked=blocked),
    )
    kinds = {mount.path: mount.kind for mount in drawn.mounts if mount.path.startswith(("/data", "/ro"))}
    assert kinds == {
        "/data": "write",
        "/data/a": "write",
        "/data/a/b": "write",
        "/data/a/b/ro": "read",
        "/data/a/b/ro/e/key": "cover",
        "/data/c": "write",
        "/data/c/d": "write",
        "/data/c/d/key": "cover",
        "/ro/x/y": "read",
    }
