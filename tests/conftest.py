"""For all tests: how they are spread over processes, and no deadline for properties.

How busy the machine is says nothing about a property, so none has a deadline.
"""

from collections.abc import Sequence

import pytest
from hypothesis import settings
from tests.spreading import Spread
from xdist.remote import Producer

from sekisho.cli.compiled import is_compiled

# How mypyc's coroutines hand an exception on to what they wait for; from Python 3.12 on that warns, and nothing else.
HANDED_ON = r"ignore:the \(type, exc, tb\) signature of throw\(\) is deprecated:DeprecationWarning"

settings.register_profile("sekisho", deadline=None)
# The same properties were tried as often as ever on the source; here they show that compiling changed nothing.
settings.register_profile("compiled", parent=settings.get_profile("sekisho"), max_examples=25)
settings.load_profile("compiled" if is_compiled() else "sekisho")


@pytest.hookimpl(optionalhook=True)  # one file may be tested without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spread:
    """Spread the tests by what they share; xdist's own groups are lost on pytest 9.2, which names tests otherwise."""
    return Spread(config, log)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Leave out what compiled modules cannot be made to show; what their compiler is warned of is not our error."""
    if is_compiled():
        for item in items:
            item.add_marker(pytest.mark.filterwarnings(HANDED_ON))
            if item.get_closest_marker("interpreted") is not None:
                item.add_marker(pytest.mark.skip(reason="Sekisho is compiled here; see docs/decisions/0029"))
