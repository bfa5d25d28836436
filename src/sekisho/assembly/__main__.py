"""The children of `sekisho up`, started without the command line's dependencies so that they are quick."""

import os
import sys

from sekisho.assembly.children import main

sys.exit(main(sys.argv[1:], os.environ))
