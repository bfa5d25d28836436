"""`sekisho audit verify`, `tail`, `prove` and `export`. The log is the audit room's; this prints what it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cyclopts import Parameter

from sekisho.assembly.identities import audit_key
from sekisho.audit import export_tiles, read_verifier_key, record_at
from sekisho.audit import prove as prove_record
from sekisho.audit import tail as tail_of
from sekisho.audit import verify as verify_log
from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, Site, find
from sekisho.cli.saying import as_line, note, say, say_json
from sekisho.errors import Misconfigured, Refused
from sekisho.keys import KeyFolder

__all__ = ["export", "prove", "tail", "verify"]

KeyFile = Annotated[
    Path | None, Parameter(name="--key", help="A verifier key, one line; else the key of this installation.")
]
LogFile = Annotated[
    Path | None,
    Parameter(name="--log", help="Another log file, such as a copy; else the log of this installation."),
]
MAX_KEY_BYTES = 4096  # a verifier key is one short line


def verify(
    *, config: ConfigFile = DEFAULT_CONFIG, log: LogFile = None, key: KeyFile = None, json: Json = False
) -> int:
    """Check the audit log against its signed checkpoint.

    Ends with 1 when a record was changed, removed, inserted or cut off.
    """
    site = find(config)
    if not site.config.audit.tamper_protection:
        raise Refused(
            "log_tampered",
            "audit.tamper_protection is false: nothing vouches for this log",
            remedy="set it to true",
        )
    origin, public = _key(site, key)
    path = log or site.config.audit_log(site.home)
    report = verify_log(path, public, origin=origin)
    problems = [{"index": one.index, "what": one.what} for one in report.problems]
    if json:
        say_json(
            {
                "ok": report.ok,
                "log": path,
                "records": report.records,
                "signed": report.size,
                "unsigned": report.unsigned,
                "root": report.root,
                "problems": problems,
            }
        )
        return 0 if report.ok else 1
    say([f"{path}: {report.records} records, {report.size} signed: {'intact' if report.ok else 'ALTERED'}"])
    for one in report.problems:
        note(f"log: {one.what}" if one.index is None else f"record {one.index}: {one.what}")
    return 0 if report.ok else 1


def tail(
    *,
    lines: Annotated[int, Parameter(name=["--lines", "-n"], help="How many records.")] = 20,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> int:
    """Print the last records of the audit log, oldest first."""
    site = find(config)
    records = tail_of(site.config.audit_log(site.home), lines)
    if json:
        say_json({"records": records})
    else:
        say(as_line(record) for record in records)
    return 0


def prove(
    index: Annotated[int, Parameter(help="The record's number, counted from 0.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    key: KeyFile = None,
    json: Json = False,
) -> int:
    """Print the proof that a record is in the log, in the tlog-proof format."""
    site = find(config)
    path = site.config.audit_log(site.home)
    _, public = _key(site, key)
    proof = prove_record(path, public, index)
    if json:
        say_json({"index": index, "record": record_at(path, index).decode(), "proof": proof})
    else:
        say(proof.rstrip("\n").split("\n"))
    return 0


def export(
    folder: Annotated[Path, Parameter(help="A new or empty folder.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    log: LogFile = None,
    key: KeyFile = None,
    json: Json = False,
) -> int:
    """Write the signed part of the log as static files that other tools can check, in the tlog-tiles format.

    Ends with 1, and leaves no checkpoint in the folder, when the log does not add up to its own.
    """
    site = find(config)
    _, public = _key(site, key)
    checkpoint = export_tiles(log or site.config.audit_log(site.home), public, folder)
    if json:
        say_json({"folder": folder, "origin": checkpoint.origin, "records": checkpoint.size})
    else:
        say([f"{folder}: {checkpoint.size} records of {checkpoint.origin}"])
    return 0


def _key(site: Site, path: Path | None) -> tuple[str | None, Ed25519PublicKey]:
    if path is not None:
        try:
            with path.open("rb") as file:
                return read_verifier_key(file.read(MAX_KEY_BYTES).decode("ascii", "replace").strip())
        except OSError as problem:
            raise Misconfigured(
                "key_unavailable",
                f"{path} cannot be read: {problem.strerror}",
                remedy="name a verifier key file",
            ) from problem
    if not (site.keys / "secrets" / "audit-log").exists():  # looking must not make a key
        raise Misconfigured(
            "key_unavailable",
            f"{site.keys} holds no key of the audit log",
            remedy="start sekisho once, or add --key",
        )
    keys = KeyFolder(site.keys, site.config.core_server.trust_domain)
    return f"{site.config.core_server.trust_domain}/audit", audit_key(keys).public_key()
