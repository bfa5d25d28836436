"""DPoP proofs (RFC 9449): who shows a bound token also shows, for this one request, that the key is theirs.

Rules of section 4.3, each of which refuses: one proof, of its own `typ`, signed by the public key it carries with an
accepted algorithm, for this method and this URL, at this minute, over this token (`ath`), with our nonce where one is
demanded, by the key that the token names, and never shown before. The id is remembered last, so that only holders of a
valid token can fill the memory.

Judgement: time is an argument, `Replay` is the only thing it changes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final
from urllib.parse import urlsplit

from sekisho.errors import Refused
from sekisho.keys.compact import Compact, read_compact, verify_compact
from sekisho.keys.jwk import PublicJwk, read_public_jwk
from sekisho.keys.replay import Nonces, Replay
from sekisho.protocol import JsonValue

__all__ = ["check_proof", "proof_refused", "same_url"]

MAX_AGE_S: Final = 60  # RFC 9449 section 11.1: seconds to minutes
MAX_PROOF_CHARS: Final = 8 << 10  # an RSA key of 8192 bits fits
MAX_JTI_CHARS: Final = 512
_PORTS: Final = {"https": 443, "http": 80}
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")


def check_proof(
    proof: str | None,
    *,
    method: str,
    url: str,
    token: str,
    jkt: str,
    now: float,
    replay: Replay,
    nonces: Nonces | None = None,
) -> None:
    """Return only when the holder of the key `jkt` made this proof for this request; raises `Refused`."""
    read, key = _signed(proof)
    claims = read.payload
    if claims.get("htm") != method:
        raise proof_refused("it was made for another method")
    stated = claims.get("htu")
    if not isinstance(stated, str) or not same_url(stated, url):
        raise proof_refused("it was made for another URL")
    if not _is_recent(claims.get("iat"), now):
        raise proof_refused("it was not made just now")
    if claims.get("ath") != _hash(token):
        raise proof_refused("it was made for another token")
    if key.thumbprint != jkt:
        raise proof_refused("its key is not the one the token is bound to")
    if nonces is not None:
        _check_nonce(read, nonces, now)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI_CHARS:
        raise proof_refused("it has no id")
    if not replay.admit(jkt, jti, now):
        raise proof_refused("it was used before")


def _signed(proof: str | None) -> tuple[Compact, PublicJwk]:
    if not proof:
        raise proof_refused("there is none")
    if "," in proof or len(proof) > MAX_PROOF_CHARS:
        raise proof_refused("there must be one, of ordinary size")
    read = read_compact(proof, proof_refused)
    if read.header.get("typ") != "dpop+jwt":
        raise proof_refused("it is another kind of token")
    key = read_public_jwk(read.header.get("jwk"))
    if key is None:
        raise proof_refused("it carries no public key that can be used")
    verify_compact(read, key, proof_refused)
    return read, key


def _is_recent(made: JsonValue, now: float) -> bool:
    if isinstance(made, bool) or not isinstance(made, int | float):
        return False
    # compared, not subtracted: an integer of a thousand digits is no float
    return now - MAX_AGE_S <= made <= now + MAX_AGE_S


def _check_nonce(read: Compact, nonces: Nonces, now: float) -> None:
    nonce = read.payload.get("nonce")
    if not isinstance(nonce, str) or not nonces.is_fresh(nonce, now):
        raise Refused("dpop_nonce", "the DPoP proof needs the current nonce")


def _hash(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode("ascii")


def proof_refused(why: str) -> Refused:
    """The refusal of a proof."""
    return Refused("dpop_invalid", f"the DPoP proof is not accepted: {why}")


def same_url(stated: str, ours: str) -> bool:
    """True when both name one resource: query and fragment do not count, RFC 3986 section 6.2.2 and 6.2.3 do."""
    one, other = _normal(stated), _normal(ours)
    return one is not None and one == other


def _normal(url: str) -> tuple[str, str, int, str] | None:
    if not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return scheme, parts.hostname.lower(), port or _PORTS[scheme], _ESCAPE.sub(_plain, parts.path) or "/"


def _plain(escape: re.Match[str]) -> str:
    """An escaped letter is that letter; whatever else is escaped stays so, in capitals."""
    char = chr(int(escape[1], 16))
    return char if _UNRESERVED.fullmatch(char) else escape[0].upper()
