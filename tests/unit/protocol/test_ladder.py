"""The envelope of one request."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.protocol import (
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_PROTOCOL_VERSION,
    ClientNotification,
    ClientRequest,
    JsonLimits,
    VersionUnsupported,
    decode_header,
    encode_header,
    envelope,
    parse_client_message,
)

NOW = "2026-07-28"
META = {
    META_PROTOCOL_VERSION: NOW,
    META_CLIENT_CAPABILITIES: {"elicitation": {}},
    META_CLIENT_INFO: {"name": "agent", "version": "1"},
}
HEADERS = {"mcp-protocol-version": NOW, "mcp-method": "tools/call", "mcp-name": "read"}


def call(
    params: object = None, *, method: str = "tools/call", id_: int | None = 1
) -> ClientRequest | ClientNotification:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    if id_ is not None:
        message["id"] = id_
    read = parse_client_message(json.dumps(message).encode(), JsonLimits())
    assert isinstance(read, ClientRequest | ClientNotification)
    return read


def modern(**changes: Any) -> ClientRequest | ClientNotification:
    meta = {key: value for key, value in {**META, **changes}.items() if value is not None}
    return call({"name": "read", "_meta": meta})


def code_of(headers: dict[str, str], message: ClientRequest | ClientNotification) -> str:
    with pytest.raises(SekishoError) as caught:
        envelope(headers, message)
    return caught.value.code


def test_a_modern_request_says_what_it_is() -> None:
    found = envelope(HEADERS, modern())
    assert found.modern
    assert found.version == NOW
    assert found.capabilities == {"elicitation": {}}


@pytest.mark.parametrize("info", [None, {}, {"name": 7}, {"name": "x" * 1000}])
def test_client_info_is_optional_and_a_claim_of_any_shape_harms_nobody(info: object) -> None:
    assert envelope(HEADERS, modern(**{META_CLIENT_INFO: info})).modern


def test_a_request_without_modern_signs_is_legacy() -> None:
    for version in ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"):
        found = envelope({"mcp-protocol-version": version}, call({"name": "read"}))
        assert (found.modern, found.version) == (False, version)
    assert envelope({}, call(method="ping")).version is None
    assert not envelope({}, call({"_meta": {"progressToken": 1}})).modern


@pytest.mark.parametrize("missing", [META_PROTOCOL_VERSION, META_CLIENT_CAPABILITIES])
def test_a_modern_request_without_version_or_capabilities_is_invalid(missing: str) -> None:
    assert code_of(HEADERS, modern(**{missing: None})) == "params_invalid"


def test_the_header_alone_makes_a_request_modern() -> None:
    assert code_of(HEADERS, call({"name": "read"})) == "params_invalid"
    assert code_of(HEADERS, call(None)) == "params_invalid"


@pytest.mark.parametrize("capabilities", [[], 1, "x", True])
def test_capabilities_other_than_an_object_are_invalid(capabilities: object) -> None:
    assert code_of(HEADERS, modern(**{META_CLIENT_CAPABILITIES: capabilities})) == "params_invalid"


@pytest.mark.parametrize("meta", [[], 1, "x", None])
def test_a_meta_other_than_an_object_is_invalid(meta: object) -> None:
    assert code_of(HEADERS, call({"name": "read", "_meta": meta})) == "params_invalid"


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-protocol-version", ""),
        ("mcp-protocol-version", None),
        ("mcp-method", "tools/list"),
        ("mcp-method", "Tools/Call"),
        ("mcp-method", None),
        ("mcp-name", "write"),
        ("mcp-name", "READ"),
        ("mcp-name", None),
        ("mcp-name", "=?base64?d3JpdGU=?="),
        ("mcp-name", "=?base64?cmVhZB==?="),
        ("mcp-name", "=?base64?cmVh ZA==?="),
        ("mcp-name", "=?base64?/w==?="),
    ],
)
def test_a_header_that_tells_another_story_is_refused(header: str, value: str | None) -> None:
    headers = {name: text for name, text in {**HEADERS, header: value}.items() if text is not None}
    assert code_of(headers, modern()) == "header_mismatch"


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("version", [7, None, [], "2026-07-28 "])
def test_a_version_in_the_body_that_is_not_the_header_is_refused(version: object) -> None:
    message = call({"name": "read", "_meta": {**META, META_PROTOCOL_VERSION: version}})
    assert code_of(HEADERS, message) == "header_mismatch"


def test_the_name_header_may_come_as_base64() -> None:
    name = "=?base64?" + base64.b64encode(b"read").decode() + "?="
    assert envelope({**HEADERS, "mcp-name": name}, modern()).modern


def test_a_resource_is_named_by_its_uri() -> None:
    message = call({"uri": "file:///é", "_meta": META}, method="resources/read")
    headers = {**HEADERS, "mcp-method": "resources/read", "mcp-name": encode_header("file:///é")}
    assert envelope(headers, message).modern
    assert code_of({**headers, "mcp-name": "file:///e"}, message) == "header_mismatch"


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_a_task_is_named_by_its_id(method: str) -> None:
    message = call({"taskId": "t-1", "_meta": META}, method=method)
    headers = {**HEADERS, "mcp-method": method, "mcp-name": "t-1"}
    assert envelope(headers, message).modern
    assert code_of({**headers, "mcp-name": "t-2"}, message) == "header_mismatch"


def test_methods_without_a_name_need_no_name_header() -> None:
    message = call({"_meta": META}, method="tools/list")
    assert envelope({"mcp-protocol-version": NOW, "mcp-method": "tools/list"}, message).modern


def test_an_unsupported_version_is_named_after_the_headers_were_compared() -> None:
    message = modern(**{META_PROTOCOL_VERSION: "2031-01-01"})
    assert code_of(HEADERS, message) == "header_mismatch"
    with pytest.raises(VersionUnsupported) as caught:
        envelope({**HEADERS, "mcp-protocol-version": "2031-01-01"}, message)
    assert caught.value.requested == "2031-01-01"


def test_an_unknown_version_header_on_a_legacy_request_is_refused_but_initialize_negotiates() -> None:
    headers = {"mcp-protocol-version": "1999-01-01"}
    assert code_of(headers, call(method="ping")) == "version_unsupported"
    assert not envelope(headers, call({}, method="initialize")).modern


@pytest.mark.threat("T-PARSER")
def test_routing_headers_of_a_legacy_request_must_be_true_too() -> None:
    assert not envelope({"mcp-method": "tools/call", "mcp-name": "read"}, call({"name": "read"})).modern
    assert code_of({"mcp-method": "tools/list"}, call({"name": "read"})) == "header_mismatch"
    assert code_of({"mcp-name": "write"}, call({"name": "read"})) == "header_mismatch"
    assert code_of({"mcp-name": "read"}, call({"name": 1})) == "header_mismatch"


def test_a_modern_notification_may_come_bare() -> None:
    message = call(method="notifications/cancelled", id_=None)
    assert envelope({"mcp-protocol-version": NOW}, message).modern
    assert code_of({"mcp-protocol-version": NOW, "mcp-method": "x"}, message) == "header_mismatch"


@pytest.mark.threat("T-PARSER")
def test_a_misspelt_version_in_meta_is_refused() -> None:
    meta = {"io.modelcontextprotocol/ProtocolVersion": NOW}
    assert code_of(HEADERS, call({"name": "read", "_meta": meta})) == "params_invalid"


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("key", ["_Meta", "Name", "NAME", "URI", "TaskId", "taskid"])
def test_case_variants_beside_the_parameters_are_refused(key: str) -> None:
    assert code_of({}, call({"name": "read", key: {}})) == "params_invalid"


@pytest.mark.threat("T-PARSER")
def test_a_second_spelling_of_the_envelope_is_refused_beside_the_right_one() -> None:
    assert envelope(HEADERS, modern(traceparent="00-1-2-03")).modern
    assert envelope(HEADERS, modern(progressToken=1)).modern
    for name in ("io.modelcontextprotocol/ClientCapabilities", "IO.modelcontextprotocol/clientcapabilities"):
        assert code_of(HEADERS, modern(**{name: {}})) == "params_invalid"
        assert code_of(HEADERS, modern(progressToken=1, **{name: {}})) == "params_invalid"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_a_header(value: str) -> None:
    coded = encode_header(value)
    assert decode_header(coded) == value
    assert coded.isascii()
    assert coded.isprintable() or not coded
    assert coded == coded.strip()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.data())
def test_no_two_base64_spellings_mean_the_same(value: str, data: st.DataObject) -> None:
    coded = "=?base64?" + base64.b64encode(value.encode()).decode() + "?="
    assert decode_header(coded) == value
    position = data.draw(st.integers(9, len(coded) - 3)) if len(coded) > 11 else 9
    changed = coded[:position] + data.draw(st.sampled_from("AZaz09+/= -")) + coded[position + 1 :]
    assert changed == coded or decode_header(changed) != value
