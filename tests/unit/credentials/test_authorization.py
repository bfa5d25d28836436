from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sekisho.credentials.authorization import Question, code_of, is_answer_to, page_for
from sekisho.credentials.metadata import Server
from sekisho.errors import Refused

ISSUER = "https://auth.example"
SERVER = Server(
    issuer=ISSUER,
    token_endpoint=f"{ISSUER}/token",
    authorization_endpoint=f"{ISSUER}/page?tenant=1",
    code_challenge_methods_supported=["S256"],
    authorization_response_iss_parameter_supported=True,
)
QUESTION = Question(
    server=SERVER,
    client_id="me",
    redirect_uri="http://127.0.0.1:1234/callback",
    state="s" * 43,
    verifier="v" * 64,
    scopes=("read", "offline_access"),
    resource="https://tools.example/mcp",
)
SILENT = replace(QUESTION, server=replace(SERVER, authorization_response_iss_parameter_supported=False))


def _answer(**changes: str | None) -> str:
    said: dict[str, str | None] = {"code": "c", "state": QUESTION.state, "iss": ISSUER}
    return urlencode({key: value for key, value in (said | changes).items() if value is not None})


def test_the_page_carries_everything_that_ties_the_answer_to_us() -> None:
    page = urlsplit(page_for(QUESTION))
    said = {key: value[0] for key, value in parse_qs(page.query).items()}
    digest = hashlib.sha256(QUESTION.verifier.encode()).digest()
    assert page.path == "/page"
    assert said == {
        "tenant": "1",
        "response_type": "code",
        "client_id": "me",
        "redirect_uri": QUESTION.redirect_uri,
        "state": QUESTION.state,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        "resource": QUESTION.resource,
        "scope": "read offline_access",
        "prompt": "consent",
    }
    assert QUESTION.verifier not in page.query


def test_no_page_is_made_for_a_server_without_pkce() -> None:
    plain = replace(QUESTION, server=replace(SERVER, code_challenge_methods_supported=["plain"]))
    with pytest.raises(Refused, match="PKCE"):
        page_for(plain)


@pytest.mark.threat("T-MIXUP")
def test_the_right_answer_gives_its_code() -> None:
    assert code_of(_answer(), QUESTION) == "c"
    assert code_of(_answer(iss=None), SILENT) == "c"
    assert code_of(_answer(), SILENT) == "c"


@pytest.mark.threat("T-MIXUP")
@pytest.mark.parametrize("state", ["", "x", "s" * 42, "S" * 43, None, "é"])
def test_an_answer_with_another_state_is_not_ours(state: str | None) -> None:
    answer = _answer(state=state)
    assert not is_answer_to(answer, QUESTION)
    with pytest.raises(Refused, match="not the answer"):
        code_of(answer, QUESTION)


@pytest.mark.parametrize("iss", ["https://evil.example", ISSUER + "/", "https://AUTH.example", ""])
@pytest.mark.parametrize("question", [QUESTION, SILENT])
def test_an_answer_of_another_issuer_is_refused_even_if_unannounced(iss: str, question: Question) -> None:
    with pytest.raises(Refused, match="another authorization server"):
        code_of(_answer(iss=iss), question)


def test_an_answer_without_an_announced_issuer_is_refused() -> None:
    with pytest.raises(Refused, match="which authorization server"):
        code_of(_answer(iss=None), QUESTION)


def test_a_parameter_stated_twice_is_refused() -> None:
    with pytest.raises(Refused):
        code_of(_answer() + "&code=other", QUESTION)
    assert not is_answer_to(_answer() + f"&state={QUESTION.state}", QUESTION)


def test_a_refused_login_says_so_without_repeating_the_servers_words() -> None:
    with pytest.raises(Refused) as caught:
        code_of(_answer(error="access_denied", error_description="<script>", code=None), QUESTION)
    assert "script" not in str(caught.value)


@pytest.mark.parametrize("code", ["", None, "c" * 9000])
def test_an_answer_without_a_code_is_refused(code: str | None) -> None:
    with pytest.raises(Refused, match="no code"):
        code_of(_answer(code=code), QUESTION)


@given(st.text(max_size=200))
def test_no_other_query_is_an_answer(query: str) -> None:
    assert not is_answer_to(query, QUESTION)
    with pytest.raises(Refused):
        code_of(query, QUESTION)


def test_a_question_keeps_its_secrets_to_itself() -> None:
    assert QUESTION.verifier not in repr(QUESTION)
    assert QUESTION.state not in repr(QUESTION)
