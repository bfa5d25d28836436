"""Deno as the inner runtime: reads a `deno run` command, and writes it anew with the permissions of the grants.

Guarantees that no permission comes from the command: a flag that is not known to be harmless is refused, so a new
flag of Deno is not let in by being unknown. Nothing is asked of a person, nothing is fetched: what runs was installed
before. The outer walls stand as they would around any other program, and hold memory and time, which Deno does not.

Judgement only: a spec in, a spec out.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from sekisho.sandbox.deno.access import DenoAccess
from sekisho.sandbox.plans.spec import SandboxSpec, unavailable

__all__ = ["deno_access", "for_deno", "is_deno"]

_ALONE: Final = frozenset(
    ("-q", "--quiet", "--check", "--no-check", "--no-remote", "--no-npm", "--no-config", "--no-lock", "--frozen",
     "--no-code-cache", "--no-prompt", "--cached-only", "--node-modules-dir", "--use-env-proxy")
)  # fmt: skip
_WITH_VALUE: Final = frozenset(
    ("-c", "--config", "--import-map", "--lock", "--ext", "--location", "--seed", "--conditions", "--preload",
     "--require", "--node-modules-dir", "--check", "--no-check", "--frozen")
)  # fmt: skip
_SEPARATE: Final = frozenset(
    (
        "-c",
        "--config",
        "--import-map",
        "--ext",
        "--location",
        "--seed",
        "--conditions",
        "--preload",
        "--require",
    )
)
_HEAP: Final = re.compile(r"--v8-flags=--max-old-space-size=[0-9]{1,6}")
_UNSTABLE: Final = re.compile(r"--unstable(-[a-z]+)*")
_PERMISSION: Final = re.compile(r"-[ARWNESIP].*|--(allow|deny|ignore|permission|unsafely|prompt)\b.*")
_SUBCOMMAND: Final = re.compile(r"[a-z]+")
# Deno reads its own behaviour from these; DENO_DIR names nothing but a folder.
_HARMLESS_ENV: Final = "DENO_DIR"


def is_deno(argv: tuple[str, ...]) -> bool:
    """Whether a command starts Deno."""
    return bool(argv) and PurePosixPath(argv[0]).name == "deno"


def for_deno(spec: SandboxSpec) -> SandboxSpec:
    """The same plugin with Deno's own wall inside the others; a command that does not name Deno is its script.

    Raises:
        Misconfigured: the command or its environment would change what Deno permits.
    """
    program, words = (spec.argv[0], spec.argv[1:]) if is_deno(spec.argv) else ("deno", spec.argv)
    for name in spec.environment:
        if name.startswith("DENO_") and name != _HARMLESS_ENV:
            raise unavailable(f"the variable {name} would change how Deno runs", "leave it out")
    flags, rest = _split(words)
    modules = [one for one in flags if one.startswith("--node-modules-dir")]
    argv = (
        program,
        "run",
        "--no-prompt",
        "--cached-only",
        *(() if modules else ("--node-modules-dir=manual",)),
        *(one for one in flags if one not in ("--no-prompt", "--cached-only")),
        *deno_access(spec).flags(),
        *rest,
    )
    own = {"DENO_NO_UPDATE_CHECK": "1", "DENO_TLS_CA_STORE": "system", "NO_COLOR": "1"}
    return replace(spec, argv=argv, environment={**own, **spec.environment})


def deno_access(spec: SandboxSpec) -> DenoAccess:
    """What the plugin may do, whether flags or a broker say it."""
    _, words = (spec.argv[0], spec.argv[1:]) if is_deno(spec.argv) else ("deno", spec.argv)
    script = next(iter(_split(words)[1]))
    return DenoAccess(grants=spec.grants, code=tuple(dict.fromkeys((*spec.runtime_paths, *_beside(script)))))


def _split(words: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
    """Flags of `deno run`, then the script and what is the script's."""
    left = list(words)
    if left and _SUBCOMMAND.fullmatch(left[0]):
        word = left.pop(0)
        if word != "run":
            raise unavailable(f"deno {word} starts no server within these walls", "write deno run SCRIPT")
    flags: list[str] = []
    while left and left[0].startswith("-"):
        flag = left.pop(0)
        name, has_value, _ = flag.partition("=")
        if _PERMISSION.fullmatch(flag):
            raise unavailable(
                f"{name} would change what Deno permits; its permissions are made from the grants",
                "leave it out, and state the grant in filesystem_policy or network_policy",
            )
        if name in _SEPARATE and not has_value and left:
            flags += [flag, left.pop(0)]
        elif (
            flag in _ALONE
            or (has_value and name in _WITH_VALUE)
            or _HEAP.fullmatch(flag)
            or _UNSTABLE.fullmatch(name)
        ):
            flags.append(flag)
        else:
            raise unavailable(f"{name} is no flag of deno that is used here", "leave it out")
    if not left:
        raise unavailable("the command names no script for Deno", "write deno run SCRIPT")
    return flags, tuple(left)


def _beside(script: str) -> tuple[str, ...]:
    """The tree of packages around an installed script, which it reads at run time."""
    if not script.startswith("/"):
        return ()
    for part in reversed(PurePosixPath(script).parents):
        if part.name == "node_modules":
            return (str(part),)
    return (script,)
