"""The language: JSON-RPC and MCP messages, HTTP and stdio framing, canonical bytes, names, revisions.

Judgement only: bytes in, values or refusals out. Stands on `errors`; every other room stands on this one.
"""

from sekisho.protocol.canonical import canonical_bytes, digest
from sekisho.protocol.client_messages import parse_client_batch, parse_client_message, parse_tool_call
from sekisho.protocol.client_values import (
    ClientMessage,
    ClientNotification,
    ClientRequest,
    ClientResponse,
    Envelope,
    JsonObject,
    ToolCall,
)
from sekisho.protocol.head_memo import HeadMemo
from sekisho.protocol.http1 import RequestReader
from sekisho.protocol.http_response import ResponseReader, collect
from sekisho.protocol.http_response_values import (
    BodyChunk,
    HttpResponse,
    ResponseEnd,
    ResponseEvent,
    ResponseHead,
)
from sekisho.protocol.http_values import HttpLimits, HttpRequest
from sekisho.protocol.http_write import header_lines, request_head_bytes, response_bytes
from sekisho.protocol.json_text import (
    JsonLimits,
    JsonValue,
    check_text,
    decode_distinct,
    parse_strict,
    read_alike,
    read_distinct,
    reemit,
    refuse_duplicates,
)
from sekisho.protocol.ladder import (
    META_CALL,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_LOG_LEVEL,
    META_PROTOCOL_VERSION,
    META_SERVER_INFO,
    decode_header,
    encode_header,
    envelope,
    is_usual_meta,
)
from sekisho.protocol.line_buffer import LineBuffer
from sekisho.protocol.lines import LineReader
from sekisho.protocol.messages import (
    Message,
    Notification,
    Request,
    Response,
    error_bytes,
    notification_bytes,
    parse_message,
    request_bytes,
    result_bytes,
    rpc_error,
    split_batch,
)
from sekisho.protocol.names import PluginName, ToolName, joined, plugin_name, split, split_any, tool_name
from sekisho.protocol.param_headers import HeaderPlan, compile_headers
from sekisho.protocol.pieces import Pieces
from sekisho.protocol.places import Places, place_of
from sekisho.protocol.revisions import BATCHES, LEGACY, MODERN, SUPPORTED, VersionUnsupported, negotiate
from sekisho.protocol.sse import SseEvent, SseReader
from sekisho.protocol.trace_context import TRACE_NAMES, read_trace, says_trace
from sekisho.protocol.uri_template import UriTemplate, UriText
from sekisho.protocol.whole_answers import LARGE_BODY_BYTES, WholeAnswers

__all__ = [
    "BATCHES",
    "LARGE_BODY_BYTES",
    "LEGACY",
    "META_CALL",
    "META_CLIENT_CAPABILITIES",
    "META_CLIENT_INFO",
    "META_LOG_LEVEL",
    "META_PROTOCOL_VERSION",
    "META_SERVER_INFO",
    "MODERN",
    "SUPPORTED",
    "TRACE_NAMES",
    "BodyChunk",
    "ClientMessage",
    "ClientNotification",
    "ClientRequest",
    "ClientResponse",
    "Envelope",
    "HeadMemo",
    "HeaderPlan",
    "HttpLimits",
    "HttpRequest",
    "HttpResponse",
    "JsonLimits",
    "JsonObject",
    "JsonValue",
    "LineBuffer",
    "LineReader",
    "Message",
    "Notification",
    "Pieces",
    "Places",
    "PluginName",
    "Request",
    "RequestReader",
    "Response",
    "ResponseEnd",
    "ResponseEvent",
    "ResponseHead",
    "ResponseReader",
    "SseEvent",
    "SseReader",
    "ToolCall",
    "ToolName",
    "UriTemplate",
    "UriText",
    "VersionUnsupported",
    "WholeAnswers",
    "canonical_bytes",
    "check_text",
    "collect",
    "compile_headers",
    "decode_distinct",
    "decode_header",
    "digest",
    "encode_header",
    "envelope",
    "error_bytes",
    "header_lines",
    "is_usual_meta",
    "joined",
    "negotiate",
    "notification_bytes",
    "parse_client_batch",
    "parse_client_message",
    "parse_message",
    "parse_strict",
    "parse_tool_call",
    "place_of",
    "plugin_name",
    "read_alike",
    "read_distinct",
    "read_trace",
    "reemit",
    "refuse_duplicates",
    "request_bytes",
    "request_head_bytes",
    "response_bytes",
    "result_bytes",
    "rpc_error",
    "says_trace",
    "split",
    "split_any",
    "split_batch",
    "tool_name",
]
