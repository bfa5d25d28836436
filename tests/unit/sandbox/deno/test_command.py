"""A command of Deno is written anew with the grants, and brings no permission of its own."""

from __future__ import annotations

import pytest

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants
from sekisho.sandbox.deno.command import deno_access, for_deno, is_deno
from sekisho.sandbox.plans.spec import SandboxSpec

GRANTS = Grants(files=FileGrant(read_only_paths=("/srv/data",)))


def spec(*argv: str, **more: object) -> SandboxSpec:
    return SandboxSpec(name="p", argv=argv, grants=GRANTS, **more)  # type: ignore[arg-type]  # fields by name


def test_the_command_keeps_its_script_and_gets_the_permissions_of_the_grants() -> None:
    made = for_deno(spec("/opt/deno/deno", "run", "--quiet", "/opt/s/main.ts", "--allow-all", "-A"))
    assert made.argv == (
        "/opt/deno/deno",
        "run",
        "--no-prompt",
        "--cached-only",
        "--node-modules-dir=manual",
        "--quiet",
        "--allow-read=/opt/s/main.ts,/srv/data,/tmp,/home/plugin",
        "--allow-write=/tmp,/home/plugin",
        "--deny-write=/opt/s/main.ts,/srv/data",
        "--allow-env",
        "--allow-sys=homedir",
        "/opt/s/main.ts",
        "--allow-all",
        "-A",
    )
    assert made.grants == GRANTS


@pytest.mark.parametrize(
    "argv",
    [
        ("deno", "run", "npm:server", "x"),
        ("deno", "npm:server", "x"),
        ("npm:server", "x"),
        ("deno", "run", "--no-prompt", "--cached-only", "npm:server", "x"),
    ],
)
def test_what_only_names_the_script_means_the_same(argv: tuple[str, ...]) -> None:
    made = for_deno(spec(*argv)).argv
    assert made[:4] == ("deno", "run", "--no-prompt", "--cached-only")
    assert made[-2:] == ("npm:server", "x")
    assert len(made) == len(set(made))


@pytest.mark.parametrize(
    "flag",
    ["--config=/x/deno.json", "--import-map=x.json", "--node-modules-dir=none", "--no-lock", "--unstable-kv",
     "--v8-flags=--max-old-space-size=200"],
)  # fmt: skip
def test_a_harmless_flag_stays(flag: str) -> None:
    assert flag in for_deno(spec("deno", "run", flag, "main.ts")).argv


def test_a_flag_with_its_value_apart_stays() -> None:
    made = for_deno(spec("deno", "run", "-c", "/x/deno.json", "main.ts")).argv
    assert made[made.index("-c") + 1] == "/x/deno.json"
    assert made[-1] == "main.ts"


@pytest.mark.parametrize(
    "flag",
    ["-A", "--allow-all", "--allow-read", "--allow-read=/", "-R", "-R=/", "-W", "-N", "-E", "-S", "-I", "-P",
     "--allow-run", "--allow-ffi", "--allow-sys", "--allow-import", "--allow-scripts", "--allow-env",
     "--permission-set=x", "--deny-read=/x", "--ignore-env", "--unsafely-ignore-certificate-errors",
     "--inspect", "--inspect-brk=0.0.0.0:1", "--reload", "-r", "--watch", "--env-file", "--cert=/x", "-qA",
     "--v8-flags=--expose-gc", "--something-new", "-", "--", "--coverage=/x", "--location"],
)  # fmt: skip
def test_any_other_flag_is_refused(flag: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        for_deno(spec("deno", "run", flag, "main.ts"))
    assert caught.value.code == "sandbox_unavailable"


@pytest.mark.parametrize("word", ["task", "eval", "repl", "serve", "install", "x", "compile"])
def test_another_subcommand_is_refused(word: str) -> None:
    with pytest.raises(Misconfigured, match="starts no server"):
        for_deno(spec("deno", word, "main.ts"))


@pytest.mark.parametrize("argv", [("deno",), ("deno", "run"), ("deno", "run", "-q")])
def test_a_command_without_a_script_is_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(Misconfigured, match="names no script"):
        for_deno(spec(*argv))


@pytest.mark.parametrize(
    "name", ["DENO_V8_FLAGS", "DENO_PERMISSION_BROKER_PATH", "DENO_CERT", "DENO_AUTH_TOKENS"]
)
def test_a_variable_that_changes_deno_is_refused(name: str) -> None:
    with pytest.raises(Misconfigured, match=name):
        for_deno(spec("deno", "run", "main.ts", environment={name: "x"}))


def test_other_variables_pass_and_ours_stand_beside_them() -> None:
    made = for_deno(spec("deno", "run", "main.ts", environment={"TOKEN": "x", "DENO_DIR": "/srv/cache"}))
    assert made.environment == {
        "TOKEN": "x",
        "DENO_DIR": "/srv/cache",
        "DENO_NO_UPDATE_CHECK": "1",
        "DENO_TLS_CA_STORE": "system",
        "NO_COLOR": "1",
    }


def test_the_tree_of_packages_around_a_script_may_be_read() -> None:
    script = "/srv/x/node_modules/@a/b/dist/node_modules/c/index.js"
    access = deno_access(spec("deno", "run", script, runtime_paths=("/opt/more",)))
    assert access.code == ("/opt/more", "/srv/x/node_modules")


def test_deno_is_known_by_the_name_of_the_program() -> None:
    assert is_deno(("/opt/deno/bin/deno", "run"))
    assert not is_deno(("/opt/deno/run",))
    assert not is_deno(())
