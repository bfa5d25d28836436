"""The escape suite: everything we know a prisoner tries, tried inside every wall we build, beside its harmless twin."""
