"""A tool that is not ours agrees: openssl verifies the checkpoint's signature, and refuses a changed one."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit import Journal

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def accepts(openssl: str, folder: Path, text: bytes, signature: bytes) -> bool:
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for name, data in (("key.pem", pem), ("text", text), ("signature", signature)):
        (folder / name).write_bytes(data)
    argv = [openssl, "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "text"]
    done = subprocess.run(
        [*argv, "-sigfile", "signature"], cwd=folder, check=False, capture_output=True, timeout=20
    )
    return done.returncode == 0


@pytest.mark.real
@pytest.mark.threat("T-LOG")
@pytest.mark.requirement("A2.3")
async def test_openssl_verifies_a_checkpoint(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    journal = Journal.open(tmp_path / "log", KEY, "gateway.example/audit")
    journal.append(b'{"kind":"event","name":"start"}', effect=False, done=lambda _problem: None)
    await journal.close()
    note = (tmp_path / "log.tlog/checkpoint").read_text()
    text, _, signed = note.rpartition("\n\n")
    signature = base64.b64decode(signed.split(" ")[2])[4:]
    assert accepts(openssl, tmp_path, f"{text}\n".encode(), signature)
    assert not accepts(openssl, tmp_path, f"{text}\n".replace("\n1\n", "\n2\n").encode(), signature)
