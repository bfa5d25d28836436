from __future__ import annotations

import msgspec
import pytest

from sekisho.plugin_server.mirrored import Tool, read_message


def test_a_message_says_its_version_method_and_name() -> None:
    meta = b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}'
    params = b'{"name":"echo","arguments":{"a":1},"_meta":%b}' % meta
    read = read_message(b'{"method":"tools/call","params":%b}' % params)
    said = (read.method, read.params.name, read.params.meta.version, bytes(read.params.arguments))
    assert said == ("tools/call", "echo", "2026-07-28", b'{"a":1}')


def test_an_answer_of_ours_is_no_such_message() -> None:
    with pytest.raises(msgspec.ValidationError):
        read_message(b'{"id":1,"result":{}}')


def test_a_tool_without_a_schema_repeats_nothing() -> None:
    assert bytes(msgspec.json.decode(b'{"name":"echo"}', type=Tool).input_schema) == b"null"
