"""Shipped test doubles: an honest and a hostile MCP server over stdio, each one self-contained file.

Both files import only the standard library and never Sekisho, because inside the walls Sekisho may be
absent; run them as `python -m sekisho.testing.echo`, or by their path. Any room may be tested with them; no
room uses them.
"""

__all__: list[str] = []
