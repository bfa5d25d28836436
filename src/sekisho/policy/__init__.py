"""Rules and grants: what a client may ask, what a plugin may touch, and how often. Judgement only."""

from sekisho.policy.access import METHODS, AccessPolicy, Rule
from sekisho.policy.grants import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.policy.hosts import LOCALHOST, Address, canonical_host, is_listed, is_public, permits
from sekisho.policy.limits import RateLimiter, RateRule
from sekisho.policy.paths import PathVerdict, verdict

__all__ = [
    "LOCALHOST",
    "METHODS",
    "AccessPolicy",
    "Address",
    "FileGrant",
    "Grants",
    "LimitGrant",
    "NetworkGrant",
    "PathVerdict",
    "RateLimiter",
    "RateRule",
    "Rule",
    "canonical_host",
    "is_listed",
    "is_public",
    "permits",
    "verdict",
]
