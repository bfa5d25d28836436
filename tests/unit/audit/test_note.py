"""Signed checkpoints: one statement, one spelling."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sekisho.audit.note import (
    Checkpoint,
    check_origin,
    open_checkpoint,
    read_verifier_key,
    sign_checkpoint,
    verifier_key,
)
from sekisho.errors import Misconfigured, Tampered

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CHECKPOINT = Checkpoint("gateway.example/audit", 1234, bytes(range(32)))
NOTE = sign_checkpoint(CHECKPOINT, KEY)


def test_a_checkpoint_has_the_lines_of_the_standard() -> None:
    lines = NOTE.decode().split("\n")
    assert lines[:4] == ["gateway.example/audit", "1234", base64.b64encode(bytes(range(32))).decode(), ""]
    assert lines[4].startswith("\u2014 gateway.example/audit ")
    assert lines[5] == ""


def test_a_verifier_key_of_the_go_implementation_is_read() -> None:
    # From the documentation of golang.org/x/mod/sumdb/note.
    line = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    origin, key = read_verifier_key(line + "\n")
    assert origin == "PeterNeumann"
    assert verifier_key(origin, key) == line


@given(st.integers(0, (1 << 63) - 1), st.binary(min_size=32, max_size=32))
def test_what_was_signed_is_what_is_opened(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("log.example", size, root)
    assert (
        open_checkpoint(sign_checkpoint(checkpoint, KEY), KEY.public_key(), origin="log.example")
        == checkpoint
    )


@pytest.mark.threat("T-LOG")
@pytest.mark.requirement("A2.3")
def test_every_single_bit_flip_is_noticed() -> None:
    for bit in range(len(NOTE) * 8):
        changed = bytearray(NOTE)
        changed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(Tampered):
            open_checkpoint(bytes(changed), KEY.public_key())


@pytest.mark.threat("T-LOG")
def test_every_truncation_and_every_added_byte_is_noticed() -> None:
    for changed in [NOTE[:end] for end in range(len(NOTE))] + [NOTE + b"\n", b"\n" + NOTE, NOTE + NOTE]:
        with pytest.raises(Tampered):
            open_checkpoint(changed, KEY.public_key())


@pytest.mark.threat("T-LOG")
def test_another_spelling_of_the_same_base64_is_refused() -> None:
    # 32 bytes leave four unused bits in the last base64 digit; lenient decoders ignore them.
    text = NOTE.decode()
    root = text.split("\n")[2]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    digit = alphabet[alphabet.index(root[-2]) ^ 1]
    spelled = f"{root[:-2]}{digit}="
    assert base64.b64decode(spelled) == base64.b64decode(root)
    with pytest.raises(Tampered, match="canonical"):
        open_checkpoint(text.replace(root, spelled).encode(), KEY.public_key())


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n1234\n", "\n01234\n"),
        ("\n1234\n", "\n+1234\n"),
        ("\n1234\n", "\n１２３４\n"),
        ("\n1234\n", "\n12345678901234567890\n"),
        ("\u2014 gateway.example/audit", "\u2014 gateway.example/other"),
        ("\u2014 ", "- "),
        ("\n", "\r\n"),
    ],
)
def test_lines_that_are_not_exact_are_refused(old: str, new: str) -> None:
    with pytest.raises(Tampered):
        open_checkpoint(NOTE.decode().replace(old, new).encode(), KEY.public_key())


def test_an_unknown_second_signature_is_refused() -> None:
    with pytest.raises(Tampered):
        open_checkpoint(NOTE + "\u2014 stranger AAAA\n".encode(), KEY.public_key())


def test_a_checkpoint_of_another_log_or_key_is_refused() -> None:
    with pytest.raises(Tampered, match="belongs to"):
        open_checkpoint(NOTE, KEY.public_key(), origin="other.example")
    with pytest.raises(Tampered, match="another key"):
        open_checkpoint(NOTE, Ed25519PrivateKey.generate().public_key())


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_never_a_checkpoint(data: bytes) -> None:
    with pytest.raises(Tampered):
        open_checkpoint(data, KEY.public_key())


@pytest.mark.parametrize(
    "origin", ["", "two words", "a+b", "line\nend", "tab\t", "x" * 256, "zero\u200bwidth"]
)
def test_names_that_cannot_be_signed_are_refused(origin: str) -> None:
    with pytest.raises(Misconfigured):
        check_origin(origin)


@pytest.mark.parametrize(
    "line", ["", "a+b", "a+00000000+AAAA", verifier_key("a", KEY.public_key())[:-1] + "B"]
)
def test_a_damaged_verifier_key_is_refused(line: str) -> None:
    with pytest.raises(Misconfigured):
        read_verifier_key(line)


def test_an_overlong_note_is_not_parsed() -> None:
    with pytest.raises(Tampered, match="too long"):
        open_checkpoint(b"x" * 5000, KEY.public_key())
