"""What `sekisho doctor` finds out about `[auth]`: tried from here, the way the core will do it.

Guarantees that an issuer is asked nothing that the core would not ask: for its metadata, its keys, and about one token
that nobody has. Each row says how to mend what is wrong. Judges no token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from sekisho.assembly.household import door_rules
from sekisho.assembly.issuers import Issuers, metadata_urls
from sekisho.config import AuthIssuer, CoreConfig
from sekisho.errors import SekishoError, Unavailable
from sekisho.keys import read_introspection, read_key_set
from sekisho.sandbox import Row

__all__ = ["examine_auth"]

_NOBODYS_TOKEN: Final = "sekisho-doctor"  # noqa: S105 - no token at all, which is the point


def examine_auth(config: CoreConfig) -> tuple[Row, ...]:
    """A row for the public URL and for each issuer; none while there are only static tokens."""
    if not config.auth.issuers or config.auth.resource is None:
        return ()
    return (_resource_row(config), *asyncio.run(_issuer_rows(config.auth.issuers)))


def _resource_row(config: CoreConfig) -> Row:
    resource = config.auth.resource or ""
    host = urlsplit(resource).hostname or ""
    host = f"[{host}]" if ":" in host else host
    is_served = host in door_rules(config).hosts
    return Row(
        what="auth.resource",
        ok=is_served,
        detail=f"tokens must be for {resource}" if is_served else f"requests for {host} are refused",
        fix="" if is_served else f'add "{host}" to core_server.allowed_hosts',
    )


async def _issuer_rows(issuers: tuple[AuthIssuer, ...]) -> list[Row]:
    return list(await asyncio.gather(*map(_issuer_row, issuers)))


async def _issuer_row(issuer: AuthIssuer) -> Row:
    what = f"issuer {issuer.name}"
    try:
        detail = await (_try_keys(issuer) if issuer.introspection_url is None else _try_question(issuer))
    except SekishoError as error:
        return Row(what=what, ok=False, detail=error.message, fix=_fix(issuer))
    return Row(what=what, ok=True, detail=detail, fix="")


async def _try_keys(issuer: AuthIssuer) -> str:
    document = await _fetched(issuer, lambda hands, then: hands.fetch_keys(issuer.name, then))
    count = len(read_key_set(document))
    return f"{count} key{'s' if count != 1 else ''} to verify tokens with"


async def _try_question(issuer: AuthIssuer) -> str:
    answer = await _fetched(issuer, lambda hands, then: hands.introspect(issuer.name, _NOBODYS_TOKEN, then))
    said = read_introspection(answer, time.time())
    if isinstance(said, SekishoError):
        raise said
    if said.claims is not None:
        raise Unavailable("issuer_unavailable", "it takes a token that nobody has for an active one")
    return "answers questions about tokens"


Then = Callable[[bytes | SekishoError], None]


async def _fetched(issuer: AuthIssuer, start: Callable[[Issuers, Then], None]) -> bytes:
    arrived: asyncio.Future[bytes | SekishoError] = asyncio.get_running_loop().create_future()
    # it reads the secret that we prove ourselves with
    hands = Issuers((issuer,))
    async with asyncio.TaskGroup() as group:
        hands.open(group)
        start(hands, arrived.set_result)
    outcome = arrived.result()
    if isinstance(outcome, SekishoError):
        raise outcome
    return outcome


def _fix(issuer: AuthIssuer) -> str:
    if issuer.introspection_url is not None:
        return f"check {issuer.introspection_url}, client_id and client_secret_path"
    if issuer.jwks_url is not None:
        return f"check {issuer.jwks_url}"
    return (
        f"look at {metadata_urls(issuer.issuer)[-1]}: its issuer must be {issuer.issuer}, letter for letter"
    )
