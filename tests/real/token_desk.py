"""The pages of an authorization server that a client needs: registration, the login page, tokens (RFC 6749, 7591, 7636).

It gives the audience and the scopes that were asked for, so that what a token holds is what the gateway told its client
to ask for. Whoever opens the login page is let in at once.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from urllib.parse import parse_qs, urlencode

from tests.issuing import as_json, b64
from tests.real.authorization_server import METADATA, Asked, AuthorizationServer

from sekisho.protocol import response_bytes

CLIENT = "sdk"
SECRET = "sdk secret"


class TokenDesk:
    """Answers beside the pages that a server has anyway."""

    def __init__(self, server: AuthorizationServer) -> None:
        self._server = server
        self._codes: dict[str, dict[str, str]] = {}
        self._numbers = itertools.count(1)
        self.given: list[dict[str, str]] = []
        """Audience and scopes of every token, in order."""
        server.desks |= {"/register": self._register, "/authorize": self._authorize, "/token": self._token}
        document = {
            "issuer": server.url,
            "jwks_uri": f"{server.url}/jwks",
            "authorization_endpoint": f"{server.url}/authorize",
            "token_endpoint": f"{server.url}/token",
            "registration_endpoint": f"{server.url}/register",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        server.say(METADATA, as_json(document))

    def _register(self, asked: Asked) -> bytes:
        del asked
        return _answer(
            {
                "client_id": CLIENT,
                "redirect_uris": ["http://127.0.0.1:1/callback"],
                "grant_types": ["authorization_code"],
                "response_types": ["code"],
                "token_endpoint_auth_method": "none",
            },
            201,
        )

    def _authorize(self, asked: Asked) -> bytes:
        query = {name: values[0] for name, values in parse_qs(asked.target.partition("?")[2]).items()}
        assert query["code_challenge_method"] == "S256"
        code = f"code-{next(self._numbers)}"
        self._codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self._server.url}
        where = f"{query['redirect_uri']}?{urlencode(back)}"
        return response_bytes(302, b"", headers=(("Location", where),), close=True)

    def _token(self, asked: Asked) -> bytes:
        form = {name: values[0] for name, values in asked.form.items()}
        if form["grant_type"] == "client_credentials":
            given = base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode()
            if given != f"{CLIENT}:{SECRET.replace(' ', '%20')}":
                return _answer({"error": "invalid_client"}, 401)
            wanted = form
        else:
            wanted = self._codes.pop(form["code"])
            if b64(hashlib.sha256(form["code_verifier"].encode()).digest()) != wanted["code_challenge"]:
                return _answer({"error": "invalid_grant"}, 400)
        granted = {"aud": wanted["resource"], "scope": wanted.get("scope", "")}
        self.given.append(granted)
        claims = granted | {"jti": f"sdk{next(self._numbers)}"}
        token = self._server.issuer.token(time.time(), None, **claims)
        told = {"access_token": token, "token_type": "Bearer", "expires_in": 600, "scope": granted["scope"]}
        return _answer(told)


def _answer(document: object, status: int = 200) -> bytes:
    return response_bytes(status, as_json(document), close=True)
