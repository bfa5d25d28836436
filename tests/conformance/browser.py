"""The browser of a person who agrees at once: opens the login page it is given and follows where it leads."""

from __future__ import annotations

import sys
import urllib.request

PATIENCE_S = 30

if __name__ == "__main__":
    with urllib.request.urlopen(sys.argv[-1], timeout=PATIENCE_S) as page:  # noqa: S310  # the login page of a test
        page.read()
