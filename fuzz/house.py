"""Configuration files, listings with their schemas, and the opening of the channel."""

from __future__ import annotations

import contextlib
import tempfile
from functools import cache
from pathlib import Path

import msgspec

from fuzz.values import hold
from sekisho.config import effective, load_any
from sekisho.errors import Misconfigured, SekishoError
from sekisho.registry import Listing, compile_schema, surface_of
from sekisho.registry.surface import listing_from_json, listing_to_json
from sekisho.wire.messages import FailureFrame, StateFrame, SurfaceFrame, decode_payload
from sekisho.wire.upgrade import read_answer, read_request, request_bytes, welcome_bytes

__all__ = ["channel", "configuration", "listing"]


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sekisho-fuzz-")


def configuration(data: bytes) -> None:
    """A file loads to a value that can be shown, or is refused in one sentence that names the file."""
    file = Path(_folder().name) / "sekisho.toml"
    file.write_bytes(data)
    try:
        config = load_any(file)
    except Misconfigured as error:
        hold(str(file) in error.message, f"the refusal does not name the file: {error.message}")
        hold(error.message.isprintable(), "the refusal carries control characters to a terminal")
        return
    hold(bool(str(effective(config))), "a loaded configuration cannot be shown")


def listing(data: bytes) -> None:
    """A listing is pinned as what it is: keeping it and reading it back gives the same root."""
    texts = data.split(b"\x00")
    try:
        read = Listing(capabilities=texts[0] or b"{}", tools=tuple(texts[1:]))
        surface = surface_of(read)
        kept = listing_from_json(listing_to_json(read))
        hold(surface_of(kept).root == surface.root, "keeping a listing changes its root")
    except SekishoError:
        return
    for item in surface.items.values():
        value = item.value()
        if isinstance(value, dict) and "inputSchema" in value:
            _schema(value["inputSchema"])


def _schema(schema: object) -> None:
    try:
        compiled = compile_schema(msgspec.json.decode(msgspec.json.encode(schema)))
    except SekishoError:
        return
    for value in ({}, schema):
        compiled.problems(msgspec.json.decode(msgspec.json.encode(value)), len(msgspec.json.encode(value)))


def channel(data: bytes) -> None:
    """The channel is opened by one form of request and of answer; what travels on it is read or refused."""
    with contextlib.suppress(SekishoError):
        token = read_request(data)
        hold(token is None or request_bytes(token) == data, "another form of request opens the channel")
    with contextlib.suppress(SekishoError):
        decode_payload(data, FailureFrame)
    with contextlib.suppress(SekishoError):
        decode_payload(data, SurfaceFrame)
    with contextlib.suppress(SekishoError):
        decode_payload(data, StateFrame)
    try:
        answer = read_answer(data)
    except SekishoError:
        return
    if answer is not None:
        nonce, rest = answer
        hold(welcome_bytes(nonce) + rest == data, "another form of answer opens the channel")
