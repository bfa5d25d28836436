"""`python -m sekisho_github`: the plugin on standard input and output."""

import os
import sys

from sekisho.plugin import serve
from sekisho_github.server import GitHub


def main() -> int:
    """Serve until standard input ends."""
    return serve(GitHub(), environment=os.environ)


if __name__ == "__main__":
    sys.exit(main())
