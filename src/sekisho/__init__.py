"""Sekisho: a gate through which AI clients use MCP servers without trusting them."""

__all__ = ["__version__"]

__version__ = "0.1.0"
