"""An MCP server of both eras that offers everything the official conformance suite asks a server for.

Standard library only and no import from the rest of Sekisho: inside the walls Sekisho may be absent. Run it as
`python -m sekisho.testing.conformance_server`, or by the path of this folder, with `--transport stdio|http` and
`--era dual|legacy|modern`. A tool is written once; whether it asks the client by a request in the midst of the
call (legacy) or by `input_required` (modern) is the business of its exchange alone.
"""

__all__: list[str] = []
