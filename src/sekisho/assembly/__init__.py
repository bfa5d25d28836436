"""assembly: the only place where rooms are joined into running processes.

One module a process: `core`, `plugin`, `egress`, `connect`, and `up`, which starts them all on one machine. Each is
imported by itself, because a plugin server must not pay for, nor hold, what only the core needs.
"""

__all__: list[str] = []
