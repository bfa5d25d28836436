"""Hosts that the machine of the tests is not: how one is made, started, and told what to run."""
