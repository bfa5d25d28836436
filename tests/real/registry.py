"""A registry that lies: a real HTTP server with the pages of PyPI and npm, which serves what a test built.

Wheels and tarballs are real files of their formats; only their content is hostile. It knows nothing of what asks it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

__all__ = ["Registry", "archive", "registry", "sdist", "tarball", "wheel"]

SCRIPT: Final = "[console_scripts]\n{name} = {module}:main\n"


class Registry:
    """What it serves, and what was asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.url = ""

    def add_python(self, file_name: str, content: bytes, *, project: str, sha256: str | None = None) -> None:
        """Put one file on the page of a project; its hash is the true one unless another is given."""
        digest = hashlib.sha256(content).hexdigest() if sha256 is None else sha256
        page = f"/simple/{project}/"
        self.files[f"/files/{file_name}"] = content
        link = f'<a href="/files/{file_name}#sha256={digest}">{file_name}</a>\n'
        self.files[page] = self.files.get(page, b"") + link.encode()

    def add_npm(
        self, name: str, version: str, content: bytes, *, told: Mapping[str, Any] | None = None, **dist: Any
    ) -> None:
        """Publish one tarball; `told` is what the registry says of it, `dist` what it says of the file."""
        own = name.rpartition("/")[2]
        path = f"/npm/{name}/-/{own}-{version}.tgz"
        self.files[path] = content
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        entry = {
            "name": name,
            "version": version,
            **(told or {}),
            "dist": {"tarball": f"{self.url}{path}", "integrity": integrity, **dist},
        }
        page = f"/npm/{name}"
        known = json.loads(self.files.get(page, b'{"versions": {}}'))
        versions = {**known["versions"], version: entry}
        packument = {"name": name, "dist-tags": {"latest": version}, "versions": versions}
        self.files[page] = json.dumps(packument).encode()


@contextmanager
def registry() -> Iterator[Registry]:
    """Serve on a port of loopback until the end of the block."""
    held = Registry()

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.replace("%2f", "/").replace("%2F", "/").partition("?")[0]
            held.asked.append(path)
            content = held.files.get(path)
            self.send_response(404 if content is None else 200)
            kind = "application/json" if path.startswith("/npm/") else "text/html"
            self.send_header(
                "Content-Type", "application/octet-stream" if path.endswith((".whl", ".tgz", ".gz")) else kind
            )
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.daemon_threads = True
    held.url = f"http://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wheel(
    name: str,
    version: str,
    files: Mapping[str, bytes],
    *,
    says: str = "",
    needs: str = "",
    has_script: bool = True,
) -> bytes:
    """A wheel with a console script; `files` may have any names. `says` is the version in its metadata."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {says or version}\n"
    if needs:
        metadata += f"Requires-Dist: {needs}\n"
    members = {
        f"{module}.py": b"def main():\n    print('hello')\n",
        **files,
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if has_script:
        members[f"{info}/entry_points.txt"] = SCRIPT.format(name=name, module=module).encode()
    record = "".join(f"{path},,\n" for path in (*members, f"{info}/RECORD"))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for path, content in (*members.items(), (f"{info}/RECORD", record.encode())):
            entry = zipfile.ZipInfo(path)
            # A link is a file whose mode says so; its content is where it leads.
            entry.external_attr = (0o120777 if content.startswith(b"-> ") else 0o100644) << 16
            archive.writestr(entry, content.removeprefix(b"-> "))
    return made.getvalue()


def sdist(name: str, version: str, setup: str) -> bytes:
    """A source archive whose `setup.py` would run."""
    folder = f"{name}-{version}"
    return archive(
        {
            f"{folder}/setup.py": setup.encode(),
            f"{folder}/PKG-INFO": f"Name: {name}\nVersion: {version}\n".encode(),
        }
    )


def tarball(name: str, version: str, files: Mapping[str, bytes], **manifest: Any) -> bytes:
    """An npm package; `files` may have any names, and those that begin with `-> ` are links."""
    told = {"name": name, "version": version, "bin": "cli.js", **manifest}
    members = {
        "package/package.json": json.dumps(told).encode(),
        "package/cli.js": b"#!/usr/bin/env node\nconsole.log('hello')\n",
        **files,
    }
    return archive(members)


def archive(members: Mapping[str, bytes]) -> bytes:
    """A compressed archive of files and links."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path, content in members.items():
            entry = tarfile.TarInfo(path)
            entry.mode = 0o4755 if path.endswith("setuid") else 0o755
            if content.startswith(b"-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, content[3:].decode()
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(made.getvalue(), mtime=0)
