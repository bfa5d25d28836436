"""What a message of ours says of itself that `heads` repeats in headers, as values."""

from __future__ import annotations

from typing import Final

import msgspec

from sekisho.protocol import META_PROTOCOL_VERSION

__all__ = ["Message", "Meta", "Params", "Tool", "read_message"]


class Meta(msgspec.Struct, gc=False):
    """Which revision it is of."""

    version: str | None = msgspec.field(default=None, name=META_PROTOCOL_VERSION)


class Params(msgspec.Struct, gc=False):
    """Whom or what it names."""

    meta: Meta = msgspec.field(default_factory=Meta, name="_meta")
    name: str | None = None
    uri: str | None = None
    task_id: str | None = msgspec.field(default=None, name="taskId")
    arguments: msgspec.Raw = msgspec.Raw()


class Message(msgspec.Struct, gc=False):
    """A message of ours."""

    method: str
    params: Params = msgspec.field(default_factory=Params)


class Tool(msgspec.Struct, rename="camel"):
    """A tool as it was listed."""

    name: str
    input_schema: msgspec.Raw = msgspec.Raw(b"null")


read_message: Final = msgspec.json.Decoder(Message).decode
