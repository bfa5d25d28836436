"""For all tests: a property has no deadline, because how busy the machine is says nothing about it."""

from hypothesis import settings

settings.register_profile("sekisho", deadline=None)
settings.load_profile("sekisho")
