"""Deno as a runtime inside the walls, with permissions rendered from the same grants."""
