"""The two promises of a plugin: it looks at its walls first, and no tool runs unchecked."""

from __future__ import annotations

import threading
from typing import Annotated, TypedDict

import pytest

from sekisho.plugin import (
    Call,
    Cancelled,
    IsolatedPlugin,
    NotFound,
    Range,
    SandboxConfig,
    SettingMissing,
    ToolUnknown,
    WallsDiffer,
    tool,
)
from sekisho.plugin.results import ERROR

PASSWORD = "correct horse battery"


class Sum(TypedDict):
    """A record of the tests."""

    sum: int


class Shop(IsolatedPlugin):
    name = "shop"

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    @tool(read_only=True)
    def add(self, a: Annotated[int, Range(0, 9)], b: int = 1) -> Sum:
        """Add."""
        self.runs += 1
        return {"sum": a + b}

    @tool()
    def lose(self) -> str:
        """Never find it."""
        raise NotFound("it is not here")

    @tool()
    def break_down(self) -> str:
        """Break."""
        raise RuntimeError(f"/secret/place {PASSWORD}")

    @tool()
    def leave(self) -> str:
        """Leave."""
        raise SystemExit(0)

    @tool()
    def give_up(self) -> str:
        """Say that it was cancelled, though nobody did."""
        raise Cancelled("no")

    @tool()
    async def give_up_waiting(self) -> str:
        """The same, where it waits."""
        import asyncio

        raise asyncio.CancelledError

    @tool()
    def tell(self) -> str:
        """Tell what should not be told."""
        return f"the password is {self.sandbox.setting('SHOP_PASSWORD')}"

    @tool()
    async def wait(self, call: Call) -> str:
        """Wait for ever."""
        import asyncio

        call.progress(1)
        await asyncio.Event().wait()
        return "never"


def _shop(**environment: str) -> Shop:
    shop = Shop()
    shop.initialize_isolated(SandboxConfig(environment=environment))
    return shop


def test_no_tool_runs_before_the_walls_were_looked_at() -> None:
    shop = Shop()
    with pytest.raises(WallsDiffer):
        shop.execute_tool_sandboxed("add", {"a": 1})
    assert shop.runs == 0


def test_a_plugin_may_insist_on_walls() -> None:
    class Careful(Shop):
        requires_walls = True

    careful = Careful()
    with pytest.raises(WallsDiffer):
        careful.initialize_isolated(SandboxConfig())
    with pytest.raises(WallsDiffer):
        careful.execute_tool_sandboxed("add", {"a": 1})


@pytest.mark.requirement("A3.1")
def test_a_tool_gets_what_it_declared_and_gives_what_it_declared() -> None:
    assert _shop().execute_tool_sandboxed("add", {"a": 1.0}).structured == {"sum": 2}


@pytest.mark.parametrize(
    "parameters", [{}, {"a": 10}, {"a": "1"}, {"a": 1, "c": 2}, {"a": True}, {"a": None}]
)
def test_parameters_that_do_not_fit_never_reach_the_tool(parameters: dict[str, object]) -> None:
    shop = _shop()
    result = shop.execute_tool_sandboxed("add", parameters)
    assert result.is_error
    assert result.meta == {ERROR: {"code": "invalid_parameters"}}
    assert shop.runs == 0


def test_an_unknown_tool_is_an_error_of_its_own() -> None:
    with pytest.raises(ToolUnknown):
        _shop().execute_tool_sandboxed("__init__", {})


def test_a_fault_is_told_in_the_authors_words() -> None:
    assert _shop().execute_tool_sandboxed("lose", {}).text == "[not_found] it is not here"


def test_what_nobody_foresaw_is_told_without_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    result = _shop().execute_tool_sandboxed("break_down", {})
    logged = capsys.readouterr().err
    assert result.text.startswith("[internal] the tool failed")
    reference = result.text.split()[-1]
    assert f"reference={reference}" in logged
    assert "tool=break_down" in logged
    assert "kind=RuntimeError" in logged
    for text in (result.text, logged):
        assert PASSWORD not in text
        assert "/secret/place" not in text


def test_a_secret_of_the_environment_does_not_leave() -> None:
    assert (
        _shop(SHOP_PASSWORD=PASSWORD).execute_tool_sandboxed("tell", {}).text == "the password is [redacted]"
    )


def test_a_secret_with_a_harmless_name_is_kept_once_it_was_asked_for() -> None:
    shop = _shop(SHOP_WORD=PASSWORD)
    assert shop.secret("SHOP_WORD") == PASSWORD
    assert shop.redaction.apply(PASSWORD) == "[redacted]"
    with pytest.raises(SettingMissing):
        shop.secret("SHOP_OTHER")


@pytest.mark.parametrize(
    ("name", "code"), [("leave", "internal"), ("give_up", "cancelled"), ("give_up_waiting", "cancelled")]
)
def test_every_call_has_an_end_that_is_answered(name: str, code: str) -> None:
    result = _shop().execute_tool_sandboxed(name, {})
    assert result.is_error
    assert result.meta == {ERROR: {"code": code}}


@pytest.mark.parametrize(
    "name", ["DB_PASS", "PASSWORD_X", "GITHUB_TOKEN", "MY_API_KEY", "APIKEY", "X_SECRET", "access_key"]
)
def test_what_sounds_like_a_secret_is_kept(name: str) -> None:
    assert _shop(**{name: PASSWORD}).redaction.apply(PASSWORD) == "[redacted]"


@pytest.mark.parametrize("name", ["COMPASS_URL", "PATH", "KEYBOARD", "WORDPRESS_USER"])
def test_what_does_not_is_said(name: str) -> None:
    assert _shop(**{name: PASSWORD}).redaction.apply(PASSWORD) == PASSWORD


def test_an_async_tool_is_stopped_where_it_waits() -> None:
    call: Call = Call(token=1, send=lambda _note: threading.Thread(target=call.cancel).start())
    with pytest.raises(Cancelled):
        _shop().execute_tool_sandboxed("wait", {}, call)


def test_a_call_that_was_withdrawn_does_not_begin() -> None:
    shop, call = _shop(), Call()
    call.cancel()
    with pytest.raises(Cancelled):
        shop.execute_tool_sandboxed("add", {"a": 1}, call)
    assert shop.runs == 0
