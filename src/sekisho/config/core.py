"""The core file, `sekisho.toml`: its tables, and those of them that are a few lines long.

One class per table, one line per setting, the safe default beside it. Guarantees that a `CoreConfig` can be honoured
as it stands. Whether files exist is asked by `check_paths`.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sekisho.config.auth import Auth, check_scoped_names
from sekisho.config.core_server import CoreServer
from sekisho.config.field import (
    Wrong,
    choice,
    flag,
    judged,
    listed,
    nested,
    number,
    path,
    setting,
    text,
    whole,
)
from sekisho.config.install import Install
from sekisho.config.limits import Limits
from sekisho.config.locate import Source
from sekisho.config.plugin_entry import PluginEntry, Plugins

__all__ = ["Approval", "Audit", "CoreConfig", "Inspection", "Security"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """`security`: how much a client may ask."""

    max_request_size_mb: int = setting(whole(1, 1024), "Largest request body, MB.", default=10)
    request_timeout_seconds: float = setting(
        number(0.001, 86_400), "Longest wait for an answer of a plugin.", default=30.0
    )
    rate_limit_per_minute: int = setting(
        whole(1, 60_000_000), "Calls of one client in a minute.", default=100
    )
    max_in_flight: int = setting(
        whole(1, 1_000_000), "Calls under way at one time, of all clients.", default=1024
    )

    @property
    def max_request_bytes(self) -> int:
        """`max_request_size_mb` in bytes."""
        return self.max_request_size_mb << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """`audit`: the log nobody can rewrite, and the running log."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        choice("DEBUG", "INFO", "WARNING", "ERROR"),
        "Least level of the running log on standard error.",
        default="INFO",
    )
    log_file: Path | None = setting(
        path(), "The audit log; else audit/log.jsonl in the home folder.", default=None
    )
    tamper_protection: bool = setting(
        flag(),
        "Hash tree and signed checkpoints; false leaves a plain file that anyone can edit.",
        default=True,
    )
    durability: Literal["effects", "every", "written"] = setting(
        choice("effects", "every", "written"),
        'Which results wait for the disk: of calls that may change something, of all, or "written": none.',
        default="effects",
    )


def _known_rule(rule_id: str) -> str:
    from sekisho.detect import check_rule_id  # noqa: PLC0415  # plugin servers read this file too, and need no rules

    return check_rule_id(rule_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """`inspection`: what the content scan does with what it finds (docs/concepts/content-scan.md)."""

    arguments: Literal["refuse", "record", "off"] = setting(
        choice("refuse", "record", "off"),
        'Of a client\'s arguments: "refuse" ends a call that no honest caller makes, "record" only notes it.',
        default="refuse",
    )
    results: Literal["refuse", "record", "off"] = setting(
        choice("refuse", "record", "off"),
        "Of a plugin's results; refusing them stops injected orders and, now and then, an honest text.",
        default="record",
    )
    disabled_rules: tuple[str, ...] = setting(
        listed(judged(text(r"[a-z]+\.[a-z0-9_]+", "the id of a content rule"), _known_rule)),
        "Content rules that are not applied, by id.",
        default=(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """`approval`: what happens to an operation that a plugin's require_approval lists."""

    answer: Literal["no", "yes", "ask"] = setting(
        choice("no", "yes", "ask"),
        'The standing answer; "yes" lets them all pass, "ask" asks the person behind the client each time.',
        default="no",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """The whole core file."""

    home: Path | None = setting(
        path(),
        "Folder of keys, log and registry, unless $SEKISHO_HOME names one; else the user's data folder.",
        default=None,
    )
    core_server: CoreServer = setting(nested(CoreServer), "The door for MCP clients.", default=CoreServer())
    security: Security = setting(nested(Security), "How much a client may ask.", default=Security())
    auth: Auth = setting(nested(Auth), "Whose tokens open the door.", default=Auth())
    limits: Limits = setting(
        nested(Limits), "What a message, a connection and a client may cost.", default=Limits()
    )
    audit: Audit = setting(nested(Audit), "The audit log and the running log.", default=Audit())
    plugins: Plugins = setting(nested(Plugins), "The plugins.", default=Plugins())
    install: Install = setting(nested(Install), "Where packages come from.", default=Install())
    inspection: Inspection = setting(nested(Inspection), "The content scan.", default=Inspection())
    approval: Approval = setting(nested(Approval), "The standing answer to approvals.", default=Approval())
    source: Source = field(default=Source(), compare=False, repr=False)

    def __post_init__(self) -> None:
        check_scoped_names(self.auth, {one.name: one.allowed_operations for one in self.plugins.servers})

    def audit_log(self, home: Path) -> Path:
        """Where the audit log stands, given the home folder in use."""
        return self.audit.log_file or home / "audit" / "log.jsonl"

    def plugin(self, name: str) -> PluginEntry:
        """The plugin of that name; raises Misconfigured."""
        for one in self.plugins.servers:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.plugins.servers)
        raise Wrong(
            f"{self.source.path}: no plugin is named {name}; configured: {known or 'none'}",
            remedy="use one of these" if known else "list it in a table [[plugins.servers]]",
        )
