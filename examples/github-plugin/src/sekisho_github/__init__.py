"""Repositories and issues of GitHub, as a plugin: `list_repos`, `create_issue`."""

from sekisho_github.server import GitHub

__all__ = ["GitHub"]
