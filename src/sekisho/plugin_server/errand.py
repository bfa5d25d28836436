"""What a call with a context asks of the plugin, as a value. Knows nothing of how it is carried out."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sekisho.wire import CallContext, Inbound

__all__ = ["Errand"]


class Errand(msgspec.Struct, frozen=True, gc=False):
    """One of them; `params` are without `_meta`."""

    inbound: Inbound
    context: CallContext
    method: str
    params: Mapping[str, object]
