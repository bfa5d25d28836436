"""keys: who is who, and who may open what: certificates, tokens, seals.

Hands are `files` and `store` (disk); everything else takes time and bytes as arguments, and what has to be fetched from
an issuer comes through `Hands`. Stands on `protocol`;
`wire`, `gateway` and `plugin_server` stand on it.
"""

from sekisho.keys.access_tokens import IssuerRules
from sekisho.keys.authority import LEAF_LIFE_S, Authority
from sekisho.keys.bearer import TokenBook, new_token, refuse_query_token, token_hash
from sekisho.keys.challenge import Challenges
from sekisho.keys.channel_token import ChannelClaims, ReplayWindow
from sekisho.keys.channel_token import sign as sign_channel_token
from sekisho.keys.channel_token import verify as verify_channel_token
from sekisho.keys.credentials import CredentialRules, Credentials, Hands
from sekisho.keys.files import read_private
from sekisho.keys.gate import (
    HandshakeGate,
    PeerFacts,
    PeerRule,
    Revocations,
    certificate_shown,
    client_context,
    front_context,
    peer_facts,
    server_context,
    spki_sha256,
    x5t_s256,
)
from sekisho.keys.identity import Identity, PublicIdentity
from sekisho.keys.introspection import assertion, basic_credentials, question, read_introspection
from sekisho.keys.jwks import read_key_set
from sekisho.keys.pending import Outcome, Pending
from sekisho.keys.principal import Bound, Principal, RequestFacts
from sekisho.keys.replay import PROOF_LIFE_S, Nonces, Replay, SeenProofs
from sekisho.keys.resource import (
    METADATA_HEADERS,
    PREFLIGHT_HEADERS,
    WELL_KNOWN,
    Resource,
    ResourceTraits,
)
from sekisho.keys.scopes import ScopePolicy
from sekisho.keys.seals import SealPair, accept, offer
from sekisho.keys.spiffe import Role, SpiffeId
from sekisho.keys.store import KeyFolder, ensure_bearer, load_token_book
from sekisho.keys.tickets import open_ticket, seal_ticket

__all__ = [
    "LEAF_LIFE_S",
    "METADATA_HEADERS",
    "PREFLIGHT_HEADERS",
    "PROOF_LIFE_S",
    "WELL_KNOWN",
    "Authority",
    "Bound",
    "Challenges",
    "ChannelClaims",
    "CredentialRules",
    "Credentials",
    "Hands",
    "HandshakeGate",
    "Identity",
    "IssuerRules",
    "KeyFolder",
    "Nonces",
    "Outcome",
    "PeerFacts",
    "PeerRule",
    "Pending",
    "Principal",
    "PublicIdentity",
    "Replay",
    "ReplayWindow",
    "RequestFacts",
    "Resource",
    "ResourceTraits",
    "Revocations",
    "Role",
    "ScopePolicy",
    "SealPair",
    "SeenProofs",
    "SpiffeId",
    "TokenBook",
    "accept",
    "assertion",
    "basic_credentials",
    "certificate_shown",
    "client_context",
    "ensure_bearer",
    "front_context",
    "load_token_book",
    "new_token",
    "offer",
    "open_ticket",
    "peer_facts",
    "question",
    "read_introspection",
    "read_key_set",
    "read_private",
    "refuse_query_token",
    "seal_ticket",
    "server_context",
    "sign_channel_token",
    "spki_sha256",
    "token_hash",
    "verify_channel_token",
    "x5t_s256",
]
