"""GitHub's REST API as far as this plugin needs it: requests, answers, and what its refusals mean.

Guarantees that no word of GitHub's stands in a fault; and that a limit which was reached says when it ends. Written after
GitHub's OpenAPI description, version 2022-11-28 of the API.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from sekisho.plugin import (
    Conflict,
    InvalidParameters,
    NotFound,
    PermissionRefused,
    PluginFault,
    RateLimited,
    Reply,
    Unreachable,
    UpstreamFault,
    WebClient,
)

__all__ = ["Api"]

API_VERSION: Final = "2022-11-28"
MAX_WAIT_S: Final = 24 * 3600.0
_WORD: Final = re.compile(r"[A-Za-z_]{1,40}")


class Api:
    """Requests with one token."""

    def __init__(self, url: str, token: str, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._client = WebClient(
            url,
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {token}",
                "User-Agent": "sekisho-github/1",  # GitHub refuses requests without one
                "X-GitHub-Api-Version": API_VERSION,
            },
        )

    def repos(self, owner: str | None, query: Mapping[str, str | int]) -> list[dict[str, Any]]:
        """Repositories of an owner, or of whoever the token belongs to."""
        path = "/user/repos" if owner is None else f"/users/{owner}/repos"
        found = self._read(self._client.request("GET", path, query=query), 200)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise UpstreamFault("GitHub answered with something that is no list of repositories")
        return found

    def create_issue(self, owner: str, repo: str, fields: Mapping[str, object]) -> dict[str, Any]:
        """A new issue."""
        made = self._read(self._client.request("POST", f"/repos/{owner}/{repo}/issues", body=fields), 201)
        if not isinstance(made, dict):
            raise UpstreamFault("GitHub answered with something that is no issue")
        return made

    def _read(self, reply: Reply, wanted: int) -> Any:
        if reply.status == wanted:
            return reply.json()
        limited = self._limited(reply)
        if limited is not None:
            raise limited
        match reply.status:
            case 401:
                raise PermissionRefused("GitHub does not know this token")
            case 403:
                raise PermissionRefused("GitHub does not let this token do that")
            case 404:
                raise NotFound("GitHub has no such owner or repository, or does not show it to this token")
            case 410:
                raise Conflict("issues are switched off there")
            case 422 | 400:
                raise InvalidParameters(f"GitHub does not take these values{_fields(reply)}")
            case 301 | 302 | 307 | 308:
                raise NotFound("it has moved; ask for it under its new name")
            case 500 | 502 | 503 | 504:
                raise Unreachable("GitHub is not working now")
            case status:
                raise UpstreamFault(f"GitHub answered with status {status}")

    def _limited(self, reply: Reply) -> PluginFault | None:
        """GitHub says 403 or 429 for a limit; the headers tell it from a plain no."""
        wait = _number(reply, "retry-after")
        if reply.status in (403, 429) and wait is None and reply.headers.get("x-ratelimit-remaining") == "0":
            reset = _number(reply, "x-ratelimit-reset")
            wait = None if reset is None else max(0.0, reset - self._clock())
            return RateLimited("GitHub wants fewer requests", retry_after_s=_bounded(wait))
        if reply.status == 429 or (reply.status == 403 and wait is not None):
            return RateLimited("GitHub wants fewer requests", retry_after_s=_bounded(wait))
        return None


def _bounded(wait: float | None) -> float | None:
    return None if wait is None else min(wait, MAX_WAIT_S)


def _number(reply: Reply, name: str) -> float | None:
    text = reply.headers.get(name, "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _fields(reply: Reply) -> str:
    """Which fields, when GitHub names them in words of its own vocabulary."""
    try:
        errors = reply.json().get("errors") or []
        named = [(one.get("field"), one.get("code")) for one in errors if isinstance(one, dict)]
    except (UpstreamFault, AttributeError, TypeError):
        return ""
    words = [
        f"{field} ({code})"
        for field, code in named[:5]
        if isinstance(field, str)
        and isinstance(code, str)
        and _WORD.fullmatch(field)
        and _WORD.fullmatch(code)
    ]
    return ": " + ", ".join(words) if words else ""
