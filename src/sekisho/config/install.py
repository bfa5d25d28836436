"""The table `install` and the settings of a plugin that is a package. Both files mean the same by them.

Guarantees that a package is named by one exact version and a registry by a URL that nobody in between can answer for.
Whether the package is the one that was meant is asked when it is installed.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sekisho.config.field import (
    Kind,
    Wrong,
    described,
    flag,
    judged,
    listed,
    number,
    path,
    setting,
    text,
    whole,
)
from sekisho.config.values import web_address
from sekisho.errors import Misconfigured, Refused
from sekisho.install import (
    NPM_REGISTRY,
    PYPI_INDEX,
    InstallSettings,
    PackageSpec,
    check_registry,
    read_package,
)
from sekisho.policy import canonical_host

__all__ = ["Install", "arguments", "check_package", "package_name", "package_of", "program_name"]

_FORMS = '"npm:name@1.2.3" or "pypi:name==1.2.3", one exact version'


def package_name() -> Kind[str]:
    """One release of one package."""

    def read(value: object, _folder: Path) -> str:
        if not isinstance(value, str):
            raise Wrong(f"is {described(value)}")
        try:
            return str(read_package(value))
        except Misconfigured as problem:
            raise Wrong(f"is {described(value)}: {problem.message}", remedy=problem.remedy) from problem

    return Kind("package", _FORMS, read)


def program_name() -> Kind[str]:
    """A program of a package, as the package names it."""
    return text(r"[A-Za-z0-9@][A-Za-z0-9@/._-]{0,127}", "the name of a program of the package")


def arguments() -> Kind[tuple[str, ...]]:
    """Words for a program; a list, never a line for a shell."""

    def read(value: object, _folder: Path) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) and "\0" not in one for one in value):
            raise Wrong(f"is {described(value)}")
        return tuple(value)

    return Kind("list of text", 'a list of words such as ["--verbose"]', read)


def _host(name: str) -> None:
    try:
        canonical_host(name)
    except Refused as problem:
        raise Wrong(f"is {described(name)}", remedy="write one host name in full") from problem


def check_package(
    package: str | None,
    entry: str | None,
    words: tuple[str, ...],
    *,
    command: tuple[str, ...],
    upstream: str | None,
    runtime: str,
) -> None:
    """A package is the plugin itself: nothing else says what is run, and its runtime knows its kind. Raises Wrong."""
    if package is not None and (command or upstream):
        other = "command" if command else "upstream"
        raise Wrong(f"stands beside {other}; expected one of the two", remedy="remove one", key="package")
    for key, value in (("entry", entry), ("arguments", words)):
        if value and package is None:
            raise Wrong(
                "stands without package", remedy="add package, or put the words into command", key=key
            )
    spec = package_of(package)
    if spec is not None and (runtime == "wasm" or (runtime == "deno" and spec.ecosystem != "npm")):
        raise Wrong(
            f'is "{runtime}", which cannot run {spec}',
            remedy='write runtime = "auto"; Deno runs npm packages',
            key="runtime",
        )


def package_of(package: str | None) -> PackageSpec | None:
    """The release that a file names."""
    return None if package is None else read_package(package)


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """`install`: where packages come from, and how much one may be."""

    pypi_index: str = setting(
        judged(web_address("https", "http", with_path=True), check_registry),
        "Index of Python packages (PEP 503).",
        default=PYPI_INDEX,
    )
    npm_registry: str = setting(
        judged(web_address("https", "http", with_path=True), check_registry),
        "Registry of npm packages.",
        default=NPM_REGISTRY,
    )
    hosts: tuple[str, ...] = setting(
        listed(judged(text(), _host, "a host name such as files.example.com")),
        "Further hosts that an index names its files at; of pypi.org they are known.",
        default=(),
    )
    allow_private_registry: bool = setting(
        flag(), "Whether a registry may be in a private network, or at localhost.", default=False
    )
    ca_path: Path | None = setting(
        path(), "Authority of the registries' certificates, PEM; else the system's.", default=None
    )
    max_tree_mb: int = setting(
        whole(1, 1 << 20), "Largest installed package, with all it needs, MB.", default=1024
    )
    max_files: int = setting(whole(1, 10_000_000), "Most files of an installed package.", default=100_000)
    timeout_seconds: float = setting(
        number(1, 86_400), "Longest time for each step of an installation.", default=600.0
    )

    def __post_init__(self) -> None:
        self.settings  # noqa: B018 - a value that cannot be honoured does not exist

    @property
    def settings(self) -> InstallSettings:
        """What the room of installation reads."""
        return InstallSettings(
            pypi_index=self.pypi_index,
            npm_registry=self.npm_registry,
            hosts=self.hosts,
            allow_private_registry=self.allow_private_registry,
            ca_path=self.ca_path,
            max_tree_mb=self.max_tree_mb,
            max_files=self.max_files,
            timeout_s=self.timeout_seconds,
        )
