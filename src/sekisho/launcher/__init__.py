"""The launcher: a small, single-threaded process that forks, enters new namespaces and becomes a plugin's walls.

A room of its own because of what it may import: the standard library, and nothing of the other rooms. It starts in
milliseconds that way, and holds nothing a plugin could want. It is told what to do by `sandbox`, which decides. Each
module more is memory that every fork copies, so those that bring others along are left out: `dataclasses`, `pathlib`.
"""
