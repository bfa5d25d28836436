"""Which variables of its own environment `sekisho up` hands on to which of its processes.

- A secret that is named by a variable reaches the egress process, and nobody else: not the core, and not the plugin
  servers, unless the plugin itself was granted it by name.
- The egress process gets nothing besides what its references and the system's certificates need.

Knows names; values pass through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sekisho.config import CoreConfig, PluginEntry
from sekisho.credentials.references import variables_of
from sekisho.policy import SecretReference

__all__ = ["inherited"]

# What decides where a process finds temporary files, the time zone, its own libraries, and whom TLS trusts.
BASIC: Final = ("TMPDIR", "TEMP", "TMP", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")


def inherited(config: CoreConfig, role: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """What the process with this role (`core`, `egress`, `plugin NAME`) gets."""
    if role[0] == "egress":
        wanted = variables_of(tuple(_kept_by_the_gate(config))) | frozenset(BASIC)
        return {name: value for name, value in environment.items() if name in wanted}
    hidden = {one.where for one in _kept_by_the_gate(config) if one.kind == "env"}
    if role[0] == "plugin":
        hidden -= _granted(config.plugin(role[-1]))
    return {name: value for name, value in environment.items() if name not in hidden}


def _kept_by_the_gate(config: CoreConfig) -> list[SecretReference]:
    return [
        secret.reference
        for one in config.plugins.servers
        for secret in one.grants.secrets
        if not secret.in_environment
    ]


def _granted(entry: PluginEntry) -> frozenset[str]:
    """Variables that this plugin, or the process that speaks for it, was given by name."""
    references = [one.reference for one in entry.grants.secrets if one.in_environment]
    references += [SecretReference.parse(reference) for _, reference in entry.upstream_headers]
    return variables_of(tuple(references)) | frozenset(entry.grants.environment)
