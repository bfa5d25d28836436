"""`python -m sekisho_wordpress`: the plugin on standard input and output."""

import os
import sys

from sekisho.plugin import serve
from sekisho_wordpress.server import WordPress


def main() -> int:
    """Serve until standard input ends."""
    return serve(WordPress(), environment=os.environ)


if __name__ == "__main__":
    sys.exit(main())
