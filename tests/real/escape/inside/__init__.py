"""The part that runs inside the walls: standard library only, one process per probe, a report at the end."""
