"""keys: who is who, and who may open what: certificates, tokens, seals.

Hands are `files` and `store` (disk); everything else takes time and bytes as arguments. Stands on `protocol`;
`wire`, `gateway` and `plugin_server` stand on it.
"""

from sekisho.keys.authority import LEAF_LIFE_S, Authority
from sekisho.keys.bearer import TokenBook, new_token, token_hash
from sekisho.keys.channel_token import ChannelClaims, ReplayWindow
from sekisho.keys.channel_token import sign as sign_channel_token
from sekisho.keys.channel_token import verify as verify_channel_token
from sekisho.keys.gate import (
    HandshakeGate,
    PeerFacts,
    PeerRule,
    Revocations,
    client_context,
    front_context,
    peer_facts,
    server_context,
    spki_sha256,
)
from sekisho.keys.identity import Identity, PublicIdentity
from sekisho.keys.seals import SealPair, accept, offer
from sekisho.keys.spiffe import Role, SpiffeId
from sekisho.keys.store import KeyFolder, ensure_bearer, load_token_book
from sekisho.keys.tickets import open_ticket, seal_ticket

__all__ = [
    "LEAF_LIFE_S",
    "Authority",
    "ChannelClaims",
    "HandshakeGate",
    "Identity",
    "KeyFolder",
    "PeerFacts",
    "PeerRule",
    "PublicIdentity",
    "ReplayWindow",
    "Revocations",
    "Role",
    "SealPair",
    "SpiffeId",
    "TokenBook",
    "accept",
    "client_context",
    "ensure_bearer",
    "front_context",
    "load_token_book",
    "new_token",
    "offer",
    "open_ticket",
    "peer_facts",
    "seal_ticket",
    "server_context",
    "sign_channel_token",
    "spki_sha256",
    "token_hash",
    "verify_channel_token",
]
