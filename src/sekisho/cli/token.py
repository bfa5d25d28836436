"""`sekisho token show` and `token rotate`: the bearer tokens of clients.

A token is printed here because a person asked for it; it appears in no log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, Site, find
from sekisho.cli.saying import note, say, say_json
from sekisho.errors import Misconfigured
from sekisho.keys import KeyFolder, ensure_bearer

__all__ = ["rotate", "show"]

Client = Annotated[str, Parameter(name="--client", help="The client's name.")]
OWNER = "owner"


def show(*, client: Client = OWNER, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """Print a client's token and where it lies."""
    path = _file(find(config), client)
    if not path.exists():
        raise Misconfigured(
            "key_unavailable",
            f"{client} has no token",
            remedy=f"make one: sekisho token rotate --client {client}",
        )
    return _print(path, client, json)


def rotate(*, client: Client = OWNER, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """Replace a client's token, or make its first one.

    A running gateway accepts the new one, and no longer the old one, after it reloads (SIGHUP).
    """
    site = find(config)
    keys = KeyFolder(site.keys, site.config.core_server.trust_domain)
    path = ensure_bearer(keys, client, anew=True)
    note("a running gateway takes the new token over when it reloads (SIGHUP)")
    return _print(path, client, json)


def _file(site: Site, client: str) -> Path:
    if not client.replace("-", "").replace("_", "").isalnum():
        raise Misconfigured(
            "config_invalid", "that is not a client's name", remedy="use letters, digits and hyphens"
        )
    return site.keys / "clients" / f"{client}.token"


def _print(path: Path, client: str, json: bool) -> int:
    try:
        token = path.read_text(encoding="ascii").strip()
    except OSError as problem:
        raise Misconfigured("key_unavailable", f"{path} cannot be read: {problem.strerror}") from problem
    if json:
        say_json({"client": client, "token": token, "token_file": path})
    else:
        say([token])
        note(f"token file: {path}")
    return 0
