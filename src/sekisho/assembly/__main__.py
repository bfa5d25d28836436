"""The children of `sekisho up`, started without the command line's dependencies so that they are quick."""

import os
import sys

if "nursery" in sys.argv[2:3]:
    # Before anything else is there: what registers itself is known then, and what launchers touch lies together.
    import sekisho.launcher.serving  # noqa: F401
    from sekisho.launcher.forking import AT_FORK

    AT_FORK.take_over()

from sekisho.assembly.children import main

sys.exit(main(sys.argv[1:], os.environ))
