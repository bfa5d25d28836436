"""One WordPress site over its REST API: requests, answers, and what its refusals mean.

Guarantees that no word of the site stands in a fault: only its error code does, and only when it looks like one. Written
after the REST API handbook (developer.wordpress.org/rest-api) and tried against WordPress 6.1.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from sekisho.plugin import (
    InvalidParameters,
    NotFound,
    PermissionRefused,
    RateLimited,
    Reply,
    Unreachable,
    UpstreamFault,
    WebClient,
)

__all__ = ["Site", "basic"]

POSTS: Final = "/wp-json/wp/v2/posts"
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{2,60}")


def basic(user: str, application_password: str) -> str:
    """The Authorization header of an application password (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{application_password}".encode()).decode()


class Site:
    """Requests to one site, as one user."""

    def __init__(self, url: str, authorization: str) -> None:
        self._client = WebClient(
            url, headers={"Authorization": authorization, "User-Agent": "sekisho-wordpress/1"}
        )

    def posts(self, query: Mapping[str, str | int]) -> tuple[list[dict[str, Any]], int, int]:
        """One page of posts, how many posts there are, and how many pages."""
        reply = self._client.request("GET", POSTS, query={**query, "context": "edit"})
        found = self._read(reply, 200)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise UpstreamFault("the site answered with something that is no list of posts")
        return found, _count(reply, "x-wp-total"), _count(reply, "x-wp-totalpages")

    def create(self, fields: Mapping[str, object]) -> dict[str, Any]:
        """A new post, as the site keeps it."""
        return self._post(POSTS, fields, 201)

    def update(self, post_id: int, fields: Mapping[str, object]) -> dict[str, Any]:
        """A changed post, as the site keeps it."""
        return self._post(f"{POSTS}/{post_id}", fields, 200)

    def _post(self, path: str, fields: Mapping[str, object], status: int) -> dict[str, Any]:
        made = self._read(self._client.request("POST", path, query={"context": "edit"}, body=fields), status)
        if not isinstance(made, dict):
            raise UpstreamFault("the site answered with something that is no post")
        return made

    def _read(self, reply: Reply, wanted: int) -> Any:
        if reply.status == wanted:
            return reply.json()
        code = _code(reply)
        match reply.status:
            case 401:  # WordPress says this to whom it takes for nobody, and 403 to a user who may not
                raise PermissionRefused(f"the site does not know this user and password ({code})")
            case 403:
                raise PermissionRefused(f"the site does not let this user do that ({code})")
            case 404 | 410:
                raise NotFound(f"the site has no such post ({code})")
            case 400:
                raise InvalidParameters(f"the site does not take these values ({code})")
            case 429:
                raise RateLimited("the site wants fewer requests", retry_after_s=_seconds(reply))
            case 502 | 503 | 504:
                raise Unreachable("the site is not working now")
            case status:
                raise UpstreamFault(f"the site answered with status {status} ({code})")


def _code(reply: Reply) -> str:
    """WordPress' own word for what is wrong; a stranger's text is never passed on as one."""
    try:
        code = reply.json().get("code")
    except (UpstreamFault, AttributeError):
        return "no code"
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "no code"


def _count(reply: Reply, name: str) -> int:
    text = reply.headers.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise UpstreamFault("the site does not say how many posts there are")
    return int(text)


def _seconds(reply: Reply) -> float | None:
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
