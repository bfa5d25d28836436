"""A plugin that is a server at a URL: reached from here, walled by its own host if at all.

Guarantees that headers and tokens are those of this plugin alone; a client's own token is not among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from sekisho.assembly.asking import client_requests
from sekisho.assembly.header_values import header_values
from sekisho.assembly.logins import authoriser_for
from sekisho.assembly.post import Post
from sekisho.plugin_server import Reach, StaticHeaders, connect_url, told_roots, trusting
from sekisho.plugin_server.warden import Connection
from sekisho.telemetry import Logger

__all__ = ["AtUrl"]


class AtUrl:
    """The way to one server; made once, for every session there."""

    def __init__(self, url: str, post: Post, environment: Mapping[str, str], log: Logger) -> None:
        self._url = url
        self._post = post
        self._reach = _reach_of(post, environment, log)

    def connect(
        self, slot: int, on_list_changed: Callable[[], None]
    ) -> AbstractAsyncContextManager[Connection]:
        """One session; at the server that is all there is of an instance."""
        del slot
        workload = self._post.workload
        return connect_url(
            url=self._url,
            limits=self._post.message_limits,
            on_list_changed=on_list_changed,
            roots=told_roots(workload.grants.files, workload.roots, is_walled=False),
            may_ask=tuple(sorted(client_requests(workload.client_requests))),
            reach=self._reach,
        )


def _reach_of(post: Post, environment: Mapping[str, str], log: Logger) -> Reach:
    workload = post.workload
    chosen = StaticHeaders(header_values(workload.upstream_headers, environment))
    return Reach(
        ca_path=workload.upstream_ca_path,
        authoriser=authoriser_for(
            workload,
            post.keys,
            log.info,
            otherwise=chosen,
            context=None if workload.upstream_ca_path is None else trusting(workload.upstream_ca_path),
        ),
        may_be_private=workload.upstream_private,
        trace=workload.trace_context,
    )
