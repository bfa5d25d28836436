"""What each tool does. Written once for both eras: how a question reaches the client is the exchange's business."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from .content import AUDIO, IMAGE, WATCHED, Json
from .exchange import AskRefused, Exchange, Refusal, missing
from .hub import Hub
from .job_tools import JOB_TOOLS, text

STEP_S = 0.05  # the suite wants messages to arrive one by one
AWAY_S = 0.2  # long enough for a client to come back to its stream

Tool = Callable[[Exchange, Json, Hub], Awaitable[Json]]


def embedded(uri: str, mime: str, words: str) -> Json:
    """An embedded text resource."""
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": words}}


def form(message: str, properties: Json, required: list[str] | None = None) -> Json:
    """A question to the user."""
    schema = {"type": "object", "properties": properties, "required": required or []}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def sampling(words: str, tokens: int = 100) -> Json:
    """A question to the client's model."""
    message = {"role": "user", "content": {"type": "text", "text": words}}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": tokens}}


ROOTS: Json = {"method": "roots/list", "params": {}}
_WORD: Json = {"type": "string"}
_NAME = form("What is your name?", {"name": _WORD}, ["name"])
_CONFIRM = form("Please confirm", {"ok": {"type": "boolean"}}, ["ok"])


async def call_tool(name: str, exchange: Exchange, arguments: Json, hub: Hub) -> Json:
    """Run one tool; a question the client refused is a failed tool, not a failed request."""
    tool = _TOOLS.get(name)
    if tool is None:
        raise Refusal(-32602, f"unknown tool {name!r}")
    try:
        return await tool(exchange, arguments, hub)
    except AskRefused as refused:
        return text(f"the client would not answer: {refused}") | {"isError": True}


def _always(result: Json) -> Tool:
    async def run(_exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
        return result

    return run


def _asking(key: str, question: Json) -> Tool:
    async def run(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
        return told((await exchange.ask({key: question}))[key])

    return run


def told(answer: Json) -> Json:
    """What a form, a model or a client's roots said, as a result."""
    if "action" in answer:
        content = json.dumps(answer.get("content", {}), sort_keys=True)
        return text(f"Elicitation completed: action={answer['action']}, content={content}")
    if "roots" in answer:
        return text("Roots: " + ", ".join(root["uri"] for root in answer["roots"]))
    content = answer.get("content", {})
    return text(f"LLM response: {content.get('text') if isinstance(content, dict) else content}")


async def _logging(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    for number, words in enumerate(("started", "processing data", "completed")):
        if number:
            await asyncio.sleep(STEP_S)
        await exchange.log("info", f"Tool execution {words}")
    return text("Logged three messages.")


async def _log_once(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    await exchange.log("info", "Working")
    return text("Logged, if that was wanted.")


async def _progress(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    for done in (0, 50, 100):
        if done:
            await asyncio.sleep(STEP_S)
        await exchange.progress(done, 100)
    return text("Reported progress three times.")


async def _reconnection(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    await exchange.log("info", "Before the stream ends")
    await exchange.hang_up()
    await asyncio.sleep(AWAY_S)
    await exchange.log("info", "After the client came back")
    return text("Reconnection test completed")


async def _sampling(exchange: Exchange, arguments: Json, _hub: Hub) -> Json:
    return told((await exchange.ask({"answer": sampling(str(arguments.get("prompt")))}))["answer"])


async def _elicitation(exchange: Exchange, arguments: Json, _hub: Hub) -> Json:
    properties = {
        "username": {**_WORD, "description": "User's response"},
        "email": {**_WORD, "description": "User's email address"},
    }
    question = form(str(arguments.get("message")), properties, ["username", "email"])
    return told((await exchange.ask({"user": question}))["user"])


async def _url(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    params = {
        "mode": "url",
        "message": "Please visit this page",
        "url": "https://example.com/visit",
        "elicitationId": "visit-1",
    }
    answers = await exchange.ask({"visit": {"method": "elicitation/create", "params": params}})
    return text(f"Visited: action={answers['visit'].get('action')}")


async def _needs_sampling(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    if "sampling" not in exchange.capabilities:
        raise missing("sampling")
    try:
        return told((await exchange.ask({"answer": sampling("Say yes")}))["answer"])
    except AskRefused:
        raise missing("sampling") from None


async def _three(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    questions = {"user_name": _NAME, "greeting": sampling("Generate a greeting", 50), "client_roots": ROOTS}
    answers = await exchange.ask(questions, seal=True)
    return text(json.dumps(answers, sort_keys=True))


async def _rounds(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    first = form("Step 1: What is your name?", {"name": _WORD}, ["name"])
    second = form("Step 2: What is your favorite color?", {"color": _WORD}, ["color"])
    answers = await exchange.ask({"step1": first}, seal=True)
    answers |= await exchange.ask({"step2": second}, seal=True)
    return text(json.dumps(answers, sort_keys=True))


async def _state(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    await exchange.ask({"confirm": _CONFIRM}, seal=True)
    return text("state-ok")


async def _declared(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    answers: dict[str, Json] = {}
    for capability, key, question in (
        ("elicitation", "user_name", _NAME),
        ("sampling", "greeting", sampling("Generate a greeting", 50)),
    ):
        if capability in exchange.capabilities:
            try:
                answers |= await exchange.ask({key: question})
            except AskRefused:
                continue  # declared by someone in between, but not by this client
    return text(json.dumps(answers, sort_keys=True))


async def _name(exchange: Exchange, _arguments: Json, _hub: Hub) -> Json:
    answer = (await exchange.ask({"user_name": _NAME}))["user_name"]
    return text(f"Hello, {answer.get('content', {}).get('name', 'stranger')}!")


async def _region(_exchange: Exchange, arguments: Json, _hub: Hub) -> Json:
    return text(f"region={arguments.get('region')}")


async def _tools_changed(_exchange: Exchange, _arguments: Json, hub: Hub) -> Json:
    await hub.announce("notifications/tools/list_changed")
    return text("Announced.")


async def _prompts_changed(_exchange: Exchange, _arguments: Json, hub: Hub) -> Json:
    await hub.announce("notifications/prompts/list_changed")
    return text("Announced.")


async def _resource_changed(_exchange: Exchange, _arguments: Json, hub: Hub) -> Json:
    await hub.announce("notifications/resources/updated", WATCHED)
    return text("Announced.")


_DEFAULTS: Json = {
    "name": {**_WORD, "description": "User name", "default": "John Doe"},
    "age": {"type": "integer", "description": "User age", "default": 30},
    "score": {"type": "number", "description": "User score", "default": 95.5},
    "status": {**_WORD, "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "description": "Verification status", "default": True},
}
_TITLED = [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]
_CHOICES: Json = {
    "untitledSingle": {**_WORD, "enum": ["option1", "option2", "option3"]},
    "titledSingle": {**_WORD, "oneOf": _TITLED},
    "legacyEnum": {**_WORD, "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    "untitledMulti": {"type": "array", "items": {**_WORD, "enum": ["option1", "option2", "option3"]}},
    "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
}
_PICTURE: Json = {"type": "image", "data": IMAGE, "mimeType": "image/png"}

_TOOLS: dict[str, Tool] = {
    "test_simple_text": _always(text("This is a simple text response for testing.")),
    "test_image_content": _always({"content": [_PICTURE]}),
    "test_audio_content": _always({"content": [{"type": "audio", "data": AUDIO, "mimeType": "audio/wav"}]}),
    "test_embedded_resource": _always(
        {
            "content": [
                embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
            ]
        }
    ),
    "test_multiple_content_types": _always(
        {
            "content": [
                *text("Multiple content types test:")["content"],
                _PICTURE,
                embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
            ]
        }
    ),
    "test_tool_with_logging": _logging,
    "test_logging_tool": _log_once,
    "test_tool_with_progress": _progress,
    "test_error_handling": _always(
        text("This tool intentionally returns an error for testing") | {"isError": True}
    ),
    "test_reconnection": _reconnection,
    "test_sampling": _sampling,
    "test_elicitation": _elicitation,
    "test_elicitation_sep1034_defaults": _asking("user", form("Please fill in", _DEFAULTS)),
    "test_elicitation_sep1330_enums": _asking("user", form("Please choose", _CHOICES)),
    "test_elicitation_url": _url,
    "test_streaming_elicitation": _asking("user", _NAME),
    "test_missing_capability": _needs_sampling,
    "test_trigger_tool_change": _tools_changed,
    "test_trigger_prompt_change": _prompts_changed,
    "test_trigger_resource_update": _resource_changed,
    "test_input_required_result_elicitation": _name,
    "test_input_required_result_sampling": _asking(
        "capital_question", sampling("What is the capital of France?")
    ),
    "test_input_required_result_list_roots": _asking("client_roots", ROOTS),
    "test_input_required_result_request_state": _state,
    "test_input_required_result_multiple_inputs": _three,
    "test_input_required_result_multi_round": _rounds,
    "test_input_required_result_tampered_state": _state,
    "test_input_required_result_capabilities": _declared,
    "test_mirrored_header": _region,
    "json_schema_2020_12_tool": _always(text("Understood.")),
    **JOB_TOOLS,
}
