"""The decoy: an innocent process of the user's, with secrets in its memory, environment, descriptors and key ring.

Runs as `python -I decoy.py MARK` on the standard library alone; tells where everything is, then waits.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import socket
import sys

TOKEN = os.environ["DECOY_TOKEN"].encode()
libc = ctypes.CDLL(None, use_errno=True)
ADD_KEY = {"x86_64": 248, "aarch64": 217}[platform.machine()]


def main() -> None:
    """Lay everything out, tell, wait."""
    memory = ctypes.create_string_buffer(TOKEN)
    libc.shmat.restype = ctypes.c_void_p
    shm = libc.shmget(0, 4096, 0o1666)
    ctypes.memmove(libc.shmat(shm, None, 0), TOKEN, len(TOKEN))
    queue = libc.msgget(0, 0o1666)
    message = ctypes.create_string_buffer(b"\x01" + bytes(7) + TOKEN, 8 + len(TOKEN))
    libc.msgsnd(queue, message, ctypes.c_size_t(len(TOKEN)), 0)
    name = f"/decoy-{os.getpid()}"
    libc.mq_open(name.encode(), os.O_CREAT | os.O_RDWR, 0o600, None)
    key = f"decoy-{os.getpid()}"
    libc.syscall(ADD_KEY, b"user", key.encode(), TOKEN, ctypes.c_size_t(len(TOKEN)), ctypes.c_long(-4))
    libc.syscall(
        ADD_KEY, b"user", TOKEN, b"x", ctypes.c_size_t(1), ctypes.c_long(-4)
    )  # its very name is a secret
    fd = os.memfd_create("decoy")
    os.write(fd, TOKEN)
    abstract = f"decoy-{os.getpid()}"
    listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for listener, address in zip(listeners, ("\0" + abstract, sys.argv[2]), strict=True):
        listener.bind(address)
        listener.listen(16)
    sys.stdout.write(
        json.dumps(
            {
                "decoy": os.getpid(),
                "decoy_mark": sys.argv[1],
                "decoy_address": ctypes.addressof(memory),
                "decoy_fd": fd,
                "shm_id": shm,
                "msg_id": queue,
                "mq": name[1:],
                "key": key,
                "abstract": abstract,
                "unix_socket": sys.argv[2],
            }
        )
        + "\n"
    )
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
