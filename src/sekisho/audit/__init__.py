"""The log nobody can rewrite: every call is in it before it happens, and how it ended before anybody hears of
it.

One JSON line per record; over them the Merkle tree of RFC 6962, signed checkpoints, and on request tiles, in the C2SP
formats, so that tools that are not ours can check it. Stands on `protocol` and `errors`; the gateway writes
it, the command line verifies it.
"""

from sekisho.audit.journal import Durability, Journal
from sekisho.audit.lines import tail
from sekisho.audit.note import Checkpoint, open_checkpoint, read_verifier_key, verifier_key
from sekisho.audit.proofs import check_proof, prove, record_at
from sekisho.audit.tiles import export_tiles
from sekisho.audit.verifier import Problem, Report, read_checkpoint, verify

__all__ = [
    "Checkpoint",
    "Durability",
    "Journal",
    "Problem",
    "Report",
    "check_proof",
    "export_tiles",
    "open_checkpoint",
    "prove",
    "read_checkpoint",
    "read_verifier_key",
    "record_at",
    "tail",
    "verifier_key",
    "verify",
]
