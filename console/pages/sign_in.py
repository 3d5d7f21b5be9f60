"""Signing in and out."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from freshness import passwords

from .. import actions
from ..actions import What
from ..apart import ROOT
from . import attempts, sessions
from .kit import COOKIE, Kit, check_token, form_of, is_secure, page_of

#: A cookie of the sign-in page's own: its form is ours only if both are there and agree.
BEFORE = "freshness_before"
LONGEST = 200

_NO_COOKIE = "Your browser keeps no cookie of ours. The console needs HTTPS, or to be on this very machine."

#: What a name that nobody has is held against, so that the answer takes as long.
_NOBODY = passwords.hashed("", salt=b"nobody at all")


class SignIn:
    """The two ways through the door."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def routes(self) -> list[Route]:
        """`/sign-in` is open to all; `/sign-out` is a form like any other."""
        return [
            Route("/sign-in", self.ask, methods=["GET"]),
            Route("/sign-in", self.enter, methods=["POST"]),
            Route("/sign-out", self.leave, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """The form."""
        if await self._kit.visitor(request):
            return RedirectResponse(_back(request.query_params.get("next")), 303)
        return await self._form(request, 200, None, request.query_params.get("next"))

    async def enter(self, request: Request) -> Response:
        """Look at the password, and begin a session."""
        form = await form_of(request)
        back = form.get("next")
        before = request.cookies.get(BEFORE)
        if before is None:
            return await self._form(request, 400, _NO_COOKIE, back)
        check_token(form, sessions.csrf_of(before))
        name, password = form.get("name", "")[:LONGEST], form.get("password", "")[:LONGEST]
        attempt = await self._kit.write(lambda conn: attempts.begin(conn, self._kit.caller(request), name))
        if attempt is None:
            answer = await self._form(request, 429, "Too many attempts. Try again in ten minutes.", back)
            answer.headers["Retry-After"] = "600"
            return answer
        user = self._kit.users.get(name)
        matches = await self._kit.in_thread(lambda: passwords.matches(password, user.hash if user else _NOBODY))
        if user is None or not matches:
            return await self._form(request, 401, "This name and password do not belong together.", back)

        def begin(conn: Connection) -> str:
            attempts.forget(conn, attempt)
            actions.record(conn, user.name, What.SIGN_IN, None, wanted=1, reached=1, result="signed in")
            return sessions.begin(conn, user)

        token = await self._kit.write(begin)
        entered = RedirectResponse(_back(back), 303)
        entered.set_cookie(
            COOKIE, token, max_age=sessions.LIFE_S, path=ROOT, secure=is_secure(request), httponly=True, samesite="lax"
        )
        entered.delete_cookie(BEFORE, path=ROOT)
        return entered

    async def leave(self, request: Request) -> Response:
        """End the session."""
        visitor, form = await self._kit.visitor(request), await form_of(request)
        if visitor is not None:
            check_token(form, visitor.csrf)
            name = visitor.user.name

            def end(conn: Connection) -> None:
                sessions.end(conn, request.cookies[COOKIE])
                actions.record(conn, name, What.SIGN_OUT, None, wanted=1, reached=1, result="signed out")

            await self._kit.write(end)
        answer = RedirectResponse(f"{ROOT}/sign-in", 303)
        answer.delete_cookie(COOKIE, path=ROOT)
        return answer

    async def _form(self, request: Request, status: int, said: str | None, back: str | None) -> Response:
        before = request.cookies.get(BEFORE) or secrets.token_urlsafe(16)
        answer = await self._kit.page(
            request, "sign_in.html", None, status, said=said, back=_back(back), form_token=sessions.csrf_of(before)
        )
        answer.set_cookie(BEFORE, before, path=ROOT, secure=is_secure(request), httponly=True, samesite="strict")
        return answer


def _back(wanted: str | None) -> str:
    """Where to go on: a page of ours, never another site."""
    mine = (wanted or "").startswith("/") and not (wanted or "").startswith("//")
    return (page_of(wanted) if mine else None) or f"{ROOT}/"
