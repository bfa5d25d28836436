"""Rules and grants: what a client may ask, what a plugin may touch, and how often. Judgement only."""

from sekisho.policy.access import METHODS, AccessPolicy, Rule
from sekisho.policy.grants import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.policy.hosts import (
    LOCALHOST,
    Address,
    canonical_host,
    carried_address,
    is_learned,
    is_listed,
    is_public,
    permits,
)
from sekisho.policy.limits import RateLimiter, RateRule
from sekisho.policy.paths import PathVerdict, verdict
from sekisho.policy.root_rules import RootRules
from sekisho.policy.roots import Narrowed, Root, narrow
from sekisho.policy.secrets import SecretGrant, SecretHost, SecretReference

__all__ = [
    "LOCALHOST",
    "METHODS",
    "AccessPolicy",
    "Address",
    "FileGrant",
    "Grants",
    "LimitGrant",
    "Narrowed",
    "NetworkGrant",
    "PathVerdict",
    "RateLimiter",
    "RateRule",
    "Root",
    "RootRules",
    "Rule",
    "SecretGrant",
    "SecretHost",
    "SecretReference",
    "canonical_host",
    "carried_address",
    "is_learned",
    "is_listed",
    "is_public",
    "narrow",
    "permits",
    "verdict",
]
