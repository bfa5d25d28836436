"""The official conformance suite, run against our own fixture behind a real gateway, cell by cell."""
