"""What stands inside a sandbox in place of secrets: placeholders, the certificate of an authority, and, where the
operator asked for it by name, a value.

Guarantees that a secret which the gate keeps is in the sandbox as its placeholder only, and that a plugin whose TLS is
opened trusts the gate's authority and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sekisho.config import Workload
from sekisho.credentials.references import read_reference
from sekisho.egress import Lease
from sekisho.sandbox import CERTIFICATE_PATH

__all__ = ["TRUST_VARIABLES", "Enclosed", "enclosed", "sketched"]

# How the programs that plugins are made of find the certificates they trust. No operator can pass these names.
TRUST_VARIABLES: Final = (
    "SSL_CERT_FILE",  # OpenSSL: Python, Ruby, PHP, wget, and Go and Rust by custom
    "NODE_EXTRA_CA_CERTS",
    "DENO_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "PERL_LWP_SSL_CA_FILE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosed:
    """What goes into the sandbox: variables, and the certificate in PEM, if any."""

    environment: Mapping[str, str] = field(repr=False)
    certificate: bytes = b""


def enclosed(workload: Workload, lease: Lease | None, environment: Mapping[str, str]) -> Enclosed:
    """For a plugin that is about to start.

    Raises:
        Misconfigured: a value that the plugin is to have in its environment cannot be read.
    """
    values = {
        one.name: read_reference(one.reference, environment)
        for one in workload.grants.secrets
        if one.in_environment
    }
    if lease is None:
        return Enclosed(environment=values)
    trust = dict.fromkeys(TRUST_VARIABLES, CERTIFICATE_PATH) if lease.certificate else {}
    return Enclosed(
        environment={**values, **lease.placeholders, **trust}, certificate=lease.certificate.encode("ascii")
    )


def sketched(workload: Workload) -> Enclosed:
    """For a plan that is only to be read: the same names, and no value."""
    names = [one.name for one in workload.grants.secrets]
    if not workload.grants.network.intercept_tls:
        return Enclosed(environment=dict.fromkeys(names, ""))
    return Enclosed(environment=dict.fromkeys((*names, *TRUST_VARIABLES), ""), certificate=b"\n")
