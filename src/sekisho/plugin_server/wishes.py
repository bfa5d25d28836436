"""What a client sets with a plugin for itself: its log level, and the resources it follows.

Guarantees that what one scope sets changes nothing for another: the plugin is asked for what any of them wants, once, and
each hears its own part. A plugin that cannot follow resources is never asked to.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sekisho.plugin_server.errand import Errand
from sekisho.plugin_server.exchanges import Exchanges
from sekisho.plugin_server.listening import Listening
from sekisho.plugin_server.scopes import LEVELS
from sekisho.plugin_server.session import PluginSession

__all__ = ["Wishes"]

_NOTHING: Final = b"{}"


class Wishes:
    """Answers `logging/setLevel`, `resources/subscribe` and `resources/unsubscribe`."""

    def __init__(self, listening: Listening, exchanges: Exchanges) -> None:
        self._listening = listening
        self._exchanges = exchanges

    def set_level(self, errand: Errand) -> None:
        """From now on this scope wants logs of this level and above."""
        level = _text(errand.params.get("level"))
        scope, inbound = errand.context.scope, errand.inbound
        if level not in LEVELS or not scope:
            inbound.fail("params_invalid", "the level is one of " + ", ".join(LEVELS))
            return
        self._listening.upstream.changed((), self._listening.scopes.set_level(scope, level))
        self._listening.upstream.sync_level()
        inbound.reply(_NOTHING)

    def unsubscribe(self, errand: Errand) -> None:
        """This scope follows a resource no longer."""
        uri = self._resource(errand)
        if uri is not None:
            listening = self._listening
            listening.upstream.changed((), listening.scopes.unfollow(errand.context.scope, uri))
            errand.inbound.reply(_NOTHING)

    def subscribe(self, session: PluginSession, errand: Errand) -> None:
        """This scope follows a resource. The first time, a legacy plugin itself says whether it can."""
        uri, listening, scope = self._resource(errand), self._listening, errand.context.scope
        if uri is None:
            return
        is_new = not listening.follows(uri)
        follows, gone = listening.scopes.follow(scope, uri)
        if not follows:
            listening.upstream.changed((), gone)
            errand.inbound.fail("busy", "too many resources are followed already")
        elif session.modern or not is_new:
            listening.upstream.changed([uri] if is_new else (), gone, lambda: errand.inbound.reply(_NOTHING))
        else:
            listening.upstream.changed((), gone)

            def settle(succeeded: bool) -> None:
                if not succeeded:
                    listening.scopes.unfollow(scope, uri)

            self._exchanges.begin(session, errand, settle).send()

    def _resource(self, errand: Errand) -> str | None:
        """The resource it names; None if it was refused."""
        uri = _text(errand.params.get("uri"))
        if not self._listening.upstream.can_follow:
            errand.inbound.fail("method_unknown", "the plugin does not tell of changed resources")
        elif not uri or not errand.context.scope:
            errand.inbound.fail("params_invalid", "a subscription names a resource")
        else:
            return uri
        return None


def _text(value: object) -> str:
    """The string in a raw member, or nothing."""
    try:
        read = msgspec.json.decode(bytes(value)) if isinstance(value, msgspec.Raw) else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""
    return read if isinstance(read, str) else ""
