"""A GitHub that holds itself and its callers to its own description. A program: `github_mock.py FILE PORT TOKEN LOG`.

Every request must fit the description (path, query, body), else it is answered with 599 and noted; every answer of its
own must fit as well, else that is noted. What it answers depends on the names in the request: see `_issue`. The notes
are lines of JSON in LOG, and a test that finds one has failed.
"""

from __future__ import annotations

import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import jsonschema_rs

URI = "https://description.example/github"


class Description:
    """The published description, asked for what fits."""

    def __init__(self, path: Path) -> None:
        self.document = json.loads(path.read_text())
        self._registry = jsonschema_rs.Registry([(URI, self.document)])
        self._paths = {
            template: re.compile(re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(template)))
            for template in self.document["paths"]
        }

    def find(self, method: str, path: str) -> tuple[str, dict[str, Any], list[str]]:
        """The template of a path, its operation, and the values in the path."""
        for template, pattern in self._paths.items():
            found = pattern.fullmatch(path)
            operation = self.document["paths"][template].get(method.lower())
            if found is not None and operation is not None:
                return template, operation, [unquote(one) for one in found.groups()]
        raise ValueError(f"no operation {method} {path}")

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        """What a reference leads to."""
        while "$ref" in node:
            _, kind, name = node["$ref"].removeprefix("#/").split("/")
            node = self.document["components"][kind][name]
        return node

    def check(self, schema: dict[str, Any], value: Any) -> None:
        """Raise ValueError unless the value fits."""
        rooted = json.loads(json.dumps(schema).replace('"$ref": "#/', f'"$ref": "{URI}#/'))
        try:
            jsonschema_rs.validate(rooted, value, registry=self._registry)
        except jsonschema_rs.ValidationError as error:
            raise ValueError(f"{error.message[:200]} at {error.instance_path}") from None

    def check_query(self, operation: dict[str, Any], values: list[str], query: list[tuple[str, str]]) -> None:
        """The parameters of a request."""
        known = [self.resolve(one) for one in operation["parameters"]]
        in_query = {one["name"]: one for one in known if one["in"] == "query"}
        for name, text in query:
            if name not in in_query:
                raise ValueError(f"no parameter {name}")
            schema = in_query[name]["schema"]
            self.check(schema, int(text) if schema["type"] == "integer" else text)
        for one, text in zip((one for one in known if one["in"] == "path"), values, strict=True):
            self.check(one["schema"], text)

    def example(self, name: str) -> Any:
        """A published example."""
        return self.document["components"]["examples"][name]["value"]


class GitHub(BaseHTTPRequestHandler):
    """One request."""

    description: Description
    token: str
    log: Path

    def do_GET(self) -> None:
        """Judge the request, answer it, judge the answer."""
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            template, operation, values = self.description.find(self.command, url.path)
            self.description.check_query(
                operation, values, parse_qsl(url.query, strict_parsing=bool(url.query))
            )
            given = self._body(operation, body)
            if self.headers["X-GitHub-Api-Version"] != "2022-11-28" or not self.headers["User-Agent"]:
                raise ValueError("headers that GitHub asks for are missing")
        except ValueError as wrong:
            self._note("request", str(wrong))
            self._send(599, {"message": "the request does not fit the description"}, {})
            return
        status, value, headers = self._answer(template, values, given)
        try:
            content = self.description.resolve(operation["responses"][str(status)])["content"][
                "application/json"
            ]
            self.description.check(content["schema"], value)
        except KeyError:
            # 401 stands in the description for some operations only; GitHub answers it to all of them.
            if status != 401:
                self._note("answer", f"{status} is not described for {template}")
        except ValueError as wrong:
            self._note("answer", f"{template} {status}: {wrong}")
        self._send(status, value, headers)

    do_POST = do_GET  # noqa: N815 - the name http.server asks for

    def _body(self, operation: dict[str, Any], body: bytes) -> dict[str, Any]:
        if "requestBody" not in operation:
            if body:
                raise ValueError("a body where none belongs")
            return {}
        given = json.loads(body)
        self.description.check(operation["requestBody"]["content"]["application/json"]["schema"], given)
        return dict(given)

    def _answer(
        self, template: str, values: list[str], given: dict[str, Any]
    ) -> tuple[int, Any, dict[str, str]]:
        if self.headers["Authorization"] != f"Bearer {self.token}":
            return 401, _error("Bad credentials", 401), {}
        if template == "/user/repos":
            return 200, self.description.example("repository-items-default-response"), {}
        if template == "/users/{username}/repos":
            return 200, self.description.example("minimal-repository-items"), {}
        return self._issue(values[1], given)

    def _issue(self, repo: str, given: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        match repo:
            case "missing":
                return 404, _error("Not Found", 404), {}
            case "forbidden":
                return 403, _error("Resource not accessible by personal access token", 403), {}
            case "limited":
                reset = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 1800)}
                return 403, _error("API rate limit exceeded for user ID 1.", 403), reset
            case "archived":
                return 410, _error("Issues are disabled for this repo", 410), {}
            case "invalid":
                errors = [{"resource": "Issue", "field": "title", "code": "missing_field"}]
                return 422, {**_error("Validation Failed", 422), "errors": errors}, {}
        issue = self.description.example("issue")
        return 201, {**issue, "title": given["title"], "body": given.get("body")}, {}

    def _note(self, what: str, why: str) -> None:
        with self.log.open("a") as log:
            log.write(json.dumps({"what": what, "why": why, "request": f"{self.command} {self.path}"}) + "\n")

    def _send(self, status: int, value: Any, headers: dict[str, str]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        sent = {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(data)),
            **headers,
        }
        for name, text in sent.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: Any) -> None:
        """The notes are kept in the file."""


def _error(message: str, status: int) -> dict[str, str]:
    return {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}


def main() -> None:
    """Serve until ended; says when it is ready."""
    file, port, token, log = sys.argv[1:]
    GitHub.description, GitHub.token, GitHub.log = Description(Path(file)), token, Path(log)
    with HTTPServer(("127.0.0.1", int(port)), GitHub) as server:
        sys.stdout.write('{"event": "ready"}\n')
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
