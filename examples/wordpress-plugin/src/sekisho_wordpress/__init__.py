"""The posts of one WordPress site, as a plugin: `list_posts`, `create_post`, `update_post`."""

from sekisho_wordpress.server import WordPress

__all__ = ["WordPress"]
