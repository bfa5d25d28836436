"""Fuzz targets: every reader of strangers' bytes, with the properties it must keep for all of them.

A target is a function from bytes to nothing that raises only when a property is broken; a refusal (`SekishoError`)
is an ordinary end. The tests replay the seeds through the same functions, without the fuzzer.
"""
