"""Which credentials the requests to a plugin at a URL carry: those of a login, or none."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

from sekisho.config import Workload
from sekisho.keys import KeyFolder
from sekisho.plugin_server import Authoriser, StaticHeaders

__all__ = ["authoriser_for"]


def authoriser_for(
    workload: Workload,
    keys: KeyFolder,
    log: Callable[..., None],
    *,
    otherwise: Authoriser | None = None,
    context: ssl.SSLContext | None = None,
) -> Authoriser:
    """The credentials of this plugin; `otherwise` where it has no login. `context` is how TLS checks its server."""
    if workload.oauth is None or workload.upstream is None:
        return otherwise or StaticHeaders()
    from sekisho.credentials.opening import open_credentials  # noqa: PLC0415 - most plugins have no login

    return open_credentials(
        plugin=workload.name,
        url=workload.upstream,
        settings=workload.oauth,
        home=keys.path.parent,
        keys=keys,
        clock=time.time,
        log=log,
        context=context,
    )
