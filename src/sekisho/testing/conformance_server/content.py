"""What the server offers, word for word as the suite wants it: definitions of tools, prompts and resources."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

NAME = "sekisho-conformance"
INFO: Json = {"name": NAME, "title": "Sekisho conformance fixture", "version": "1.0.0"}
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODERN = ("2026-07-28",)
INSTRUCTIONS = "Everything the conformance suite asks for."
CAPABILITIES: Json = {
    "tools": {"listChanged": True},
    "prompts": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "completions": {},
    "logging": {},
}

IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
AUDIO = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
WATCHED = "test://watched-resource"


def _schema(properties: Json | None = None, **more: Any) -> Json:
    return {"type": "object", "properties": properties or {}, **more}


def _tool(name: str, description: str, schema: Json | None = None, **more: Any) -> Json:
    return {"name": name, "description": description, "inputSchema": schema or _schema(), **more}


_STRING: Json = {"type": "string"}

VOCABULARY: Json = {  # SEP-1613 and SEP-2106: every one of these words must reach the client
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": _STRING, "city": _STRING},
        }
    },
    "properties": {
        "name": _STRING,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": _STRING,
        "email": _STRING,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

TOOLS: list[Json] = [
    _tool("test_simple_text", "Answers with a text."),
    _tool("test_image_content", "Answers with an image."),
    _tool("test_audio_content", "Answers with a sound."),
    _tool("test_embedded_resource", "Answers with an embedded resource."),
    _tool("test_multiple_content_types", "Answers with a text, an image and a resource."),
    _tool("test_tool_with_logging", "Logs three messages while it works."),
    _tool("test_logging_tool", "Logs one message while it works."),
    _tool("test_tool_with_progress", "Reports progress three times while it works."),
    _tool("test_error_handling", "Always ends in an error."),
    _tool("test_reconnection", "Lets go of its stream in the midst of the call; the answer waits."),
    _tool("test_sampling", "Asks the client's model.", _schema({"prompt": _STRING}, required=["prompt"])),
    _tool("test_elicitation", "Asks the user.", _schema({"message": _STRING}, required=["message"])),
    _tool("test_elicitation_sep1034_defaults", "Asks the user by a form with defaults."),
    _tool("test_elicitation_sep1330_enums", "Asks the user by a form with every kind of choice."),
    _tool("test_elicitation_url", "Asks the user to visit a page."),
    _tool("test_streaming_elicitation", "Asks the user while its answer streams."),
    _tool("test_missing_capability", "Needs a client that can sample."),
    _tool("test_trigger_tool_change", "Announces that the list of tools changed."),
    _tool("test_trigger_prompt_change", "Announces that the list of prompts changed."),
    _tool("test_trigger_resource_update", f"Announces that {WATCHED} changed."),
    _tool("test_input_required_result_elicitation", "Asks for a name."),
    _tool("test_input_required_result_sampling", "Asks the client's model for a capital."),
    _tool("test_input_required_result_list_roots", "Asks for the client's roots."),
    _tool("test_input_required_result_request_state", "Asks, and wants its state back."),
    _tool("test_input_required_result_multiple_inputs", "Asks three things at once."),
    _tool("test_input_required_result_multi_round", "Asks twice, one after the other."),
    _tool("test_input_required_result_tampered_state", "Asks, and refuses a state it did not write."),
    _tool("test_input_required_result_capabilities", "Asks only what the client declared."),
    _tool(
        "test_mirrored_header",
        "Has a parameter that is mirrored in a header.",
        _schema({"region": {**_STRING, "x-mcp-header": "Region"}}, required=["region"]),
    ),
    _tool("json_schema_2020_12_tool", "Has an input schema with the words of 2020-12.", VOCABULARY),
    _tool("greet", "Greets, at once.", _schema({"name": _STRING})),
    _tool(
        "slow_compute",
        "Takes as long as it is told to.",
        _schema({"seconds": {"type": "number"}, "label": _STRING}),
    ),
    _tool("failing_job", "Ends in an error, later.", execution={"taskSupport": "required"}),
    _tool("protocol_error_job", "Breaks, later."),
    _tool("confirm_delete", "Asks before it deletes nothing.", _schema({"filename": _STRING})),
    _tool("multi_input", "Asks two things at once."),
    _tool("test_tool_with_task", "Asks, and then takes its time.", execution={"taskSupport": "required"}),
    _tool("test_task_roots", "Asks for the client's roots while it takes its time."),
]


def _argument(name: str, description: str) -> Json:
    return {"name": name, "description": description, "required": True}


PROMPTS: list[Json] = [
    {"name": "test_simple_prompt", "description": "One message."},
    {
        "name": "test_prompt_with_arguments",
        "description": "One message with two arguments in it.",
        "arguments": [_argument("arg1", "The first."), _argument("arg2", "The second.")],
    },
    {
        "name": "test_prompt_with_embedded_resource",
        "description": "A resource and a message.",
        "arguments": [_argument("resourceUri", "The resource to embed.")],
    },
    {"name": "test_prompt_with_image", "description": "An image and a message."},
    {"name": "test_input_required_result_prompt", "description": "Asks the user before it answers."},
]

RESOURCES: list[Json] = [
    {
        "uri": "test://static-text",
        "name": "static-text",
        "description": "A text.",
        "mimeType": "text/plain",
    },
    {
        "uri": "test://static-binary",
        "name": "static-binary",
        "description": "An image.",
        "mimeType": "image/png",
    },
    {"uri": WATCHED, "name": "watched-resource", "description": "Can be watched.", "mimeType": "text/plain"},
]

TEMPLATES: list[Json] = [
    {
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "Data by its id.",
        "mimeType": "application/json",
    }
]
