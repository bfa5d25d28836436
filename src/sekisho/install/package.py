"""Which package a plugin is: one exact version of one name of one registry, read from one line of configuration.

Guarantees that a `PackageSpec` names one release and nothing else: no range, no tag, no URL, no path, no option of
an installer, and no letter outside ASCII, where two names can look the same. Knows no registry, and does not judge
whether the name is the one that was meant (`names`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from sekisho.errors import Misconfigured

__all__ = ["Ecosystem", "PackageSpec", "normal_python_name", "read_package"]

Ecosystem = Literal["npm", "pypi"]

MAX_NAME_CHARS: Final = 214  # npm's own bound, and more than PyPI has
MAX_VERSION_CHARS: Final = 128
# The grammar of names that npm takes for new packages: small letters, an optional scope.
_NPM_NAME: Final = re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*", re.ASCII)
_NPM_VERSION: Final = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", re.ASCII
)
# The core metadata specification: letters and digits at both ends.
_PYTHON_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_EXTRAS: Final = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*(,[A-Za-z0-9]+(-[A-Za-z0-9]+)*)*", re.ASCII)
_PYTHON_VERSION: Final = re.compile(
    r"([0-9]+!)?[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?(\+[a-z0-9]+([._-][a-z0-9]+)*)?",
    re.ASCII,
)
_FORMS: Final = 'write "npm:name@1.2.3" or "pypi:name==1.2.3", one exact version'


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSpec:
    """One release. `extras` are the optional parts of a Python package that it is installed with."""

    ecosystem: Ecosystem
    name: str
    version: str
    extras: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """As the ecosystem's own installer writes it."""
        if self.ecosystem == "npm":
            return f"{self.name}@{self.version}"
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.name}{extras}=={self.version}"

    def __str__(self) -> str:
        return f"{self.ecosystem}:{self.requirement}"


def read_package(text: str) -> PackageSpec:
    """Read `npm:name@version` or `pypi:name==version`.

    Raises:
        Misconfigured: it is anything else.
    """
    if not text.isascii():
        raise _wrong(f"{text!a} has letters outside ASCII, which can look like others")
    ecosystem, _, rest = text.partition(":")
    match ecosystem:
        case "npm":
            name, _, version = rest.rpartition("@")
            extras = ""
            is_good = bool(_NPM_NAME.fullmatch(name) and _NPM_VERSION.fullmatch(version))
        case "pypi":
            name, _, version = rest.partition("==")
            name, bracket, extras = name.partition("[")
            is_good = bool(_PYTHON_NAME.fullmatch(name) and _PYTHON_VERSION.fullmatch(version))
            if bracket:
                is_good = is_good and extras.endswith("]") and bool(_EXTRAS.fullmatch(extras[:-1]))
            extras = extras.removesuffix("]")
        case _:
            raise _wrong(f"{text!r} names no registry")
    if not is_good or len(name) > MAX_NAME_CHARS or len(version) > MAX_VERSION_CHARS:
        listing = "npm view NAME versions" if ecosystem == "npm" else "pip index versions NAME"
        raise _wrong(f"{text!r} is not one exact version of one package", listing)
    return PackageSpec(
        ecosystem=ecosystem,
        name=name,
        version=version,
        extras=tuple(sorted({one.lower() for one in extras.split(",")})) if extras else (),
    )


def normal_python_name(name: str) -> str:
    """The one spelling of a Python package's name (PEP 503): PyPI takes them all for the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _wrong(what: str, listing: str = "") -> Misconfigured:
    hint = f" ({listing} lists them)" if listing else ""
    return Misconfigured("config_invalid", what, remedy=_FORMS + hint)
