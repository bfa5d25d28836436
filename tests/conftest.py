"""For all tests: how they are spread over processes, and no deadline for properties.

Tests of one file share what is dear to make (a house, a private internet), so they stay in one process; those that say
`spread` may run beside each other. How busy the machine is says nothing about a property, so none has a deadline.
"""

from collections.abc import Sequence

import pytest
from hypothesis import settings

from sekisho.cli.compiled import is_compiled

settings.register_profile("sekisho", deadline=None)
settings.load_profile("sekisho")


@pytest.hookimpl(tryfirst=True)  # before those that read the groups
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Name the group of each test, and leave out what compiled modules cannot be made to show."""
    if is_compiled():
        for item in items:
            if item.get_closest_marker("interpreted") is not None:
                item.add_marker(pytest.mark.skip(reason="Sekisho is compiled here; see docs/decisions/0029"))
    for index, item in enumerate(items):
        spread = item.get_closest_marker("spread")
        part = "" if spread is None else f" {index % spread.args[0]}"
        item.add_marker(pytest.mark.xdist_group(f"{item.path}{part}"))
