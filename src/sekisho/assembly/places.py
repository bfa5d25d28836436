"""Where one installation keeps what, given its home folder. Creates folders, opens nothing else."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.errors import Misconfigured

__all__ = ["Places"]

MAX_SOCKET_PATH_BYTES: Final = 107  # sun_path of Linux, less its terminator
LONGEST_SOCKET_NAME: Final = len("/egress-.256.sock") + 32  # with the longest plugin name, and its last slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The folders and files of one installation."""

    home: Path
    config: Path

    @property
    def keys(self) -> Path:
        """Certificates, keys, tokens."""
        return self.home / "keys"

    @property
    def lock(self) -> Path:
        """What was approved; stands beside the configuration, so that both go into version control together."""
        return self.config.parent / "sekisho.lock"

    @property
    def packages(self) -> Path:
        """Installed packages, and which one each plugin uses."""
        return self.home.resolve() / "packages"

    @property
    def drafts(self) -> Path:
        """What plugins wrote and nobody decided on, a folder each."""
        return self.home.resolve() / "drafts"

    @property
    def uids(self) -> Path:
        """Which user of this host each plugin is."""
        return self.home / "uids.json"

    @property
    def egress_log(self) -> Path:
        """What the egress proxy let through and refused, one file a plugin."""
        return self.home / "egress"

    @property
    def content_rules(self) -> Path:
        """The compiled rules of the content scan; made again whenever rules or engine change."""
        return self.home / "content-rules.bin"

    @property
    def run(self) -> Path:
        """Sockets of running processes. A home with a long path gets a short folder for them."""
        folder = self.home / "run"
        if len(os.fsencode(folder)) + LONGEST_SOCKET_NAME <= MAX_SOCKET_PATH_BYTES:
            return folder
        mark = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"sekisho-{os.getuid()}-{mark}"

    def plugin_socket(self, name: str) -> Path:
        """Where the plugin server of a local plugin listens."""
        return self.run / f"plugin-{name}.sock"

    def gate_socket(self, name: str, slot: int = 0) -> Path:
        """Where the egress proxy takes over the sockets of one sandbox; the path is the plugin's identity.

        Slots from 1 on are those of its further instances. No name of a plugin has a dot.
        """
        return self.run / (f"egress-{name}.{slot}.sock" if slot else f"egress-{name}.sock")

    def lease_socket(self, name: str) -> Path:
        """Where the egress proxy issues what a plugin with secrets needs before it starts."""
        return self.run / f"lease-{name}.sock"

    def chosen_port(self) -> int | None:
        """The port the front chose for itself when it last ran here."""
        try:
            port = int(self._port_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return port if 0 < port < 1 << 16 else None

    def remember_port(self, port: int) -> None:
        """Keep the port the front chose for itself."""
        self._port_file.write_text(str(port), encoding="ascii")

    @property
    def _port_file(self) -> Path:
        return self.run / "front.port"

    def make_folders(self) -> None:
        """Create the folders, for us alone; one that is somebody else's, or that others can write, is refused."""
        for folder in (self.home, self.run, self.egress_log):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                status = folder.lstat()
            except OSError as error:
                raise Misconfigured(
                    "config_invalid",
                    f"{folder} cannot be created: {error.strerror}",
                    remedy='choose another: home = "/a/path" at the top of the file, or $SEKISHO_HOME',
                ) from error
            if status.st_uid != os.getuid() or folder.is_symlink():
                raise Misconfigured(
                    "config_invalid",
                    f"{folder} belongs to somebody else",
                    remedy="remove it or choose another home",
                )
            # A group of our own is nobody else; many systems give one to each user, and let it write.
            others = stat.S_IWOTH | (0 if status.st_gid == os.getgid() else stat.S_IWGRP)
            if folder != self.run and status.st_mode & others:
                raise Misconfigured(
                    "config_invalid",
                    f"others can write {folder} (mode {stat.S_IMODE(status.st_mode):o})",
                    remedy=f"look at what is in it, then type chmod go-w {folder}; or choose another home",
                )
        self.run.chmod(0o700)
