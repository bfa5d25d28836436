"""Benchmarks of the whole house: `python3 dev.py bench`."""
