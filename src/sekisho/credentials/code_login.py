"""One login of a person by code and PKCE: sent to the page, waited for, and what the answer is exchanged with.

Guarantees that state and verifier are fresh for each login and leave this function only in the form that its own answer
earned. Who is asked, what for, and what becomes of the tokens, is its callers' business: `oauth` and `identity_login`.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from sekisho.credentials.authorization import Question, code_of, is_answer_to, page_for
from sekisho.credentials.callback import Callback
from sekisho.credentials.grants import Form
from sekisho.credentials.metadata import Server

__all__ = ["code_form"]


async def code_form(
    callback: Callback,
    open_page: Callable[[str], Awaitable[None]],
    *,
    server: Server,
    client_id: str,
    scopes: tuple[str, ...],
    resource: str,
) -> Form:
    """Ask a person, and return the form of the token request; raises `Refused` or `Unavailable`."""
    question = Question(
        server=server,
        client_id=client_id,
        redirect_uri=callback.redirect_uri,
        state=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(64),
        scopes=scopes,
        resource=resource,
    )
    callback.expect(lambda query: is_answer_to(query, question))
    await open_page(page_for(question))
    return {
        "grant_type": "authorization_code",
        "code": code_of(await callback.answer(), question),
        "redirect_uri": question.redirect_uri,
        "code_verifier": question.verifier,
    }
