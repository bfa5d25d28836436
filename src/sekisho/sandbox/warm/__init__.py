"""Plugins that are forked inside their own walls, from a server that has imported what they need."""
