"""The list of targets, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fuzz import authored, house, http, messages, outside, streams, uris

__all__ = ["SEEDS", "TARGETS", "seeds_of"]

SEEDS = Path(__file__).parent / "seeds"

TARGETS: dict[str, Callable[[bytes], None]] = {
    "client-message": messages.client_message,
    "plugin-message": messages.plugin_message,
    "tool-call": messages.tool_call,
    "strict-text": messages.strict_text,
    "http-requests": http.request_stream,
    "http-responses": http.response_stream,
    "events": streams.events,
    "lines": streams.lines,
    "frames": streams.frames,
    "configuration": house.configuration,
    "listing": house.listing,
    "channel": house.channel,
    "greeting": outside.greeting,
    "question": outside.question,
    "proxy-request": outside.proxy_request,
    "uri-template": uris.uri_template,
    "authored": authored.conversation,
}


def seeds_of(target: str) -> list[Path]:
    """The seed files of one target."""
    return sorted(path for path in (SEEDS / target).iterdir() if path.is_file())
