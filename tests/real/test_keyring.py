"""A keyring of the library `keyring` itself, with a backend that keeps its entries in memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.real

BACKEND = """
import sys, keyring
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked
from sekisho.credentials.references import read_reference
from sekisho.errors import Misconfigured
from sekisho.policy import SecretReference

class InMemory(KeyringBackend):
    priority = 1
    entries = {}
    is_locked = False
    def get_password(self, service, username):
        if self.is_locked:
            raise KeyringLocked("the value is hunter2-and-more")
        return self.entries.get((service, username))
    def set_password(self, service, username, password):
        self.entries[service, username] = password

ring = InMemory()
keyring.set_keyring(ring)
keyring.set_password("github", "me", "hunter2-and-more")
assert read_reference(SecretReference.parse("keyring:github/me"), {}) == "hunter2-and-more"
InMemory.is_locked = True
for name in ("github/me", "github/you"):
    try:
        read_reference(SecretReference.parse("keyring:" + name), {})
    except Misconfigured as error:
        assert "hunter2" not in str(error) and "unlock" in error.remedy, error
    else:
        sys.exit("a locked keyring gave something out")
keyring.set_keyring(keyring.backends.fail.Keyring())
try:
    read_reference(SecretReference.parse("keyring:github/me"), {})
except Misconfigured as error:
    assert "keyring --list-backends" in error.remedy
else:
    sys.exit("no backend, yet a value")
print("ok")
"""


def test_an_entry_is_read_and_a_locked_or_missing_keyring_is_told_with_a_remedy() -> None:
    pytest.importorskip("keyring", reason="the extra sekisho[keyring] is not installed")
    done = subprocess.run(
        [sys.executable, "-c", BACKEND], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
