"""One request at a token endpoint, by a client that says who it is.

Guarantees that a client's secret or signed assertion goes to the endpoint of the server that is given, and that an
assertion is made for that server's issuer alone. Judges no answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.grants import Form, authenticated, encoded
from sekisho.credentials.metadata import Server
from sekisho.credentials.proofs import SigningKey, client_assertion
from sekisho.credentials.vault import Client
from sekisho.errors import Misconfigured
from sekisho.keys.files import read_private
from sekisho.protocol import HttpResponse

__all__ = ["ask"]

_FORM: Final = "application/x-www-form-urlencoded"


async def ask(
    fetcher: Fetcher,
    server: Server,
    client: Client,
    form: Form,
    *,
    key_path: Path | None,
    now: float,
    headers: Sequence[tuple[str, str]] = (),
) -> HttpResponse:
    """The answer to this form; `key_path` signs for a client whose method is private_key_jwt; raises `SekishoError`."""
    assertion = ""
    if client.method == "private_key_jwt":
        assertion = client_assertion(
            _private_key(key_path),
            client_id=client.client_id,
            issuer=server.issuer,
            supported=server.token_endpoint_auth_signing_alg_values_supported,
            now=now,
            jti=secrets.token_urlsafe(16),
        )
    body, own = authenticated(client, form, assertion)
    return await fetcher.post(server.token_endpoint, encoded(body), _FORM, [*own, *headers])


def _private_key(path: Path | None) -> SigningKey:
    if path is None:
        raise Misconfigured("config_invalid", "oauth: private_key_path is missing")
    return SigningKey(read_private(path))
