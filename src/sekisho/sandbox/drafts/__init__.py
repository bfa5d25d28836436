"""Writes that wait for a yes: kept apart from the folder they are meant for, told as changes, kept or discarded whole."""
