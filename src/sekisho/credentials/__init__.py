"""credentials: what is given to us for a plugin at a URL, and how we come by it (OAuth 2.1, as a client)."""

from sekisho.credentials.authoriser import OAuthAuthoriser
from sekisho.credentials.challenge import Challenge, parse_challenge
from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.oauth import OAuthClient
from sekisho.credentials.settings import OAuthSettings
from sekisho.credentials.vault import Vault

__all__ = [
    "Challenge",
    "Fetcher",
    "OAuthAuthoriser",
    "OAuthClient",
    "OAuthSettings",
    "Vault",
    "parse_challenge",
]
