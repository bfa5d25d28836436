"""The host a prisoner would break out into: a user's home full of secrets, another plugin, a process to prey on.

Everything lies in one folder that the stage made, or in namespaces of its own; the secrets are told to nobody, only
their digests. What was changed is found by looking at the host's own files afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.real.escape.inside.supply import READ, WRITE

__all__ = ["World"]

SETUID: Final = stat.S_ISUID | stat.S_ISGID


@dataclass
class World:
    """One user's world below one folder; `uid` owns all of it."""

    base: Path
    uid: int
    tokens: list[str] = field(default_factory=list)
    at: dict[str, Any] = field(default_factory=dict)
    _kept: dict[str, tuple[bytes | None, int]] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.base / "home"

    @property
    def writable(self) -> Path:
        """What the plugin may write."""
        return self.base / "plugins" / "mine" / "work"

    @property
    def read_only(self) -> Path:
        """What it may read."""
        return self.base / "plugins" / "mine" / "settings"

    @property
    def digests(self) -> list[str]:
        """By which a prisoner knows that what it read is a secret."""
        return [hashlib.sha256(token.encode()).hexdigest() for token in self.tokens]

    def token(self) -> str:
        """A new secret."""
        self.tokens.append("DECOY-" + secrets.token_hex(16))
        return self.tokens[-1]

    def lay(self) -> None:
        """Put everything where it belongs."""
        for path in (".bashrc", ".gitconfig", "project/package.json", "project/.git/hooks/keep", *_targets()):
            self._file(self.home / path, f"# {self.token()}\n")
        for id_ in ("F09", "F10", "F31", "F40"):
            self._file(self.read_only / id_, "a setting\n").chmod(0o644)
        other = self._file(self.base / "plugins" / "other" / "data.db", self.token())
        self._folder(self.writable).chmod(
            0o777
        )  # also for a driver that gives its plugins users of their own
        self._folder(self.base / "spool")
        tmp = self._file(Path("/tmp", f"decoy-{secrets.token_hex(8)}"), self.token())
        shm = self._file(Path("/dev/shm", f"decoy-{secrets.token_hex(8)}"), self.token())
        self.at |= {
            "home": str(self.home), "ssh_key": str(self.home / ".ssh" / "id_ed25519"), "other_plugin": str(other),
            "tmp_file": str(tmp), "shm_file": str(shm), "read_only": str(self.read_only),
            "writable": str(self.writable), "cron": str(self.base / "spool" / "planted"),
        }  # fmt: skip
        self._keep()

    def tidy(self) -> None:
        """Take away what lies outside our folder."""
        for name in ("tmp_file", "shm_file"):
            Path(self.at[name]).unlink(missing_ok=True)

    @contextlib.contextmanager
    def decoy(self, python: str, who: dict[str, Any]) -> Iterator[None]:
        """The process to prey on."""
        script = str(Path(__file__).with_name("decoy.py"))
        socket = self._folder(self.base / "run") / "decoy.sock"
        process = subprocess.Popen(
            [python, "-I", script, f"decoy-mark-{secrets.token_hex(8)}", str(socket)],
            env={"DECOY_TOKEN": self.token()}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **who,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            self.at |= json.loads(process.stdout.readline())
            yield
        finally:
            process.kill()
            process.communicate()

    def changed(self) -> dict[str, bool]:
        """Which probes left something on the host, and put everything back."""
        found = {id_: self._state(id_) != kept for id_, kept in self._kept.items()}
        left = self.writable / "setuid"
        found["F32"] = left.exists() and bool(left.stat().st_mode & SETUID)
        return found

    def _keep(self) -> None:
        self._kept = {id_: self._state(id_) for id_ in (*WRITE, "F07", "F08", "F09", "F10", "F40", "M21")}

    def _state(self, id_: str) -> tuple[bytes | None, int]:
        own = {"F07": self.home / "planted", "F08": self.home / ".bashrc", "M21": Path(self.at["cron"])}
        path = own.get(id_) or (self.home / WRITE[id_][1] if id_ in WRITE else self.read_only / id_)
        return (path.read_bytes(), path.stat().st_mode) if path.exists() else (None, 0)

    def _file(self, path: Path, text: str) -> Path:
        self._folder(path.parent)
        path.write_text(text)
        path.chmod(0o600)
        os.chown(path, self.uid, self.uid)
        return path

    def _folder(self, path: Path) -> Path:
        for folder in (
            (*reversed(path.relative_to(self.base).parents), path.relative_to(self.base))
            if path.is_relative_to(self.base)
            else ()
        ):
            made = self.base / folder
            if not made.is_dir():
                made.mkdir()
                os.chown(made, self.uid, self.uid)
        return path


def _targets() -> Iterator[str]:
    yield ".ssh/id_ed25519"
    for _, path in (*READ.values(), *WRITE.values()):
        yield path
