"""What every page stands on: who is asking, the ledger in a thread of the console's own, templates, errors.

Every route is made here, so none can forget to ask who is there: `shown` needs somebody signed in, `done` an operator
and the form's token.
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import anyio
import anyio.to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from freshness.bell import Ring
from freshness.settings import ConsoleUser
from jobs.house import House

from ..apart import ROOT
from ..cells import span
from . import sessions, words
from .sessions import Visitor

T = TypeVar("T")
Page = Callable[[Request, Visitor], Awaitable[Response]]
Form = Mapping[str, str]
Act = Callable[[Request, Visitor, Form], Awaitable[Response]]

#: Pages at the database at once in one process; more wait their turn.
THREADS = 3

COOKIE = "freshness_session"
LONGEST_FORM = 16 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

#: A page that asks too much of PostgreSQL is cut off, not waited for. And it goes by indexes: of a thousand stale files
#: the planner may hold reading every concern of every file to be cheaper, and with what others do it is not.
_READING = """
SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', '5s', true),
       set_config('enable_seqscan', 'off', true)
"""


class Refused(Exception):
    """A page that cannot be shown, or a thing that cannot be done: a status, and a sentence for the page."""

    def __init__(self, status: int, said: str) -> None:
        self.status, self.said = status, said
        super().__init__(f"{status}: {said}")


@dataclass
class Kit:
    """The parts that pages are made of. `receiving` is the house as the receiver has it; `caller` says which address a
    request came from."""

    house: House
    receiving: House
    users: Mapping[str, ConsoleUser]
    caller: Callable[[Request], str]
    templates: Environment = field(default_factory=lambda: _templates())
    _threads: anyio.CapacityLimiter | None = None

    def shown(self, path: str, page: Page, name: str | None = None) -> Route:
        """A page, for whoever is signed in."""

        async def answer(request: Request) -> Response:
            check_text(request.path_params, request.query_params)
            visitor = await self.visitor(request)
            return await page(request, visitor) if visitor else self.to_sign_in(request)

        return Route(path, answer, methods=["GET"], name=name)

    def done(self, path: str, act: Act) -> Route:
        """An action, for an operator who sent our own form."""

        async def answer(request: Request) -> Response:
            visitor = await self.visitor(request)
            if visitor is None:
                return self.to_sign_in(request)
            form = await form_of(request)
            check_text(request.path_params, form)
            check_token(form, visitor.csrf)
            if not visitor.user.is_operator:
                raise Refused(403, "You may look, but not change anything: this needs the role operator.")
            return await act(request, visitor, form)

        return Route(path, answer, methods=["POST"])

    async def visitor(self, request: Request) -> Visitor | None:
        """Who is asking; None if nobody is signed in."""
        token = request.cookies.get(COOKIE)
        if not token or len(token) > 100:
            return None
        return await self.read(lambda conn: sessions.find(conn, token, self.users))

    def to_sign_in(self, request: Request) -> Response:
        """The way to the sign-in page, and back: from a form to the page that it stood on; a part of a page sends its
        whole page there."""
        if request.headers.get("hx-request"):
            return Response(status_code=401, headers={"HX-Redirect": _door(request.headers.get("hx-current-url"))})
        page = str(request.url) if request.method == "GET" else request.headers.get("referer")
        return RedirectResponse(_door(page), 303)

    async def read(self, look: Callable[[Connection], T]) -> T:
        """Look at the ledger, in one read-only transaction with a limit."""

        def work() -> T:
            with self.house.engine.begin() as conn:
                conn.exec_driver_sql(_READING)
                return look(conn)

        return await self.in_thread(work)

    async def write(self, step: Callable[[Connection], T], rings: Callable[[T], tuple[Ring, ...]] | None = None) -> T:
        """Change the ledger in one transaction, and ring once it is committed."""

        def work() -> T:
            with self.house.engine.begin() as conn:
                result = step(conn)
            if rings is not None and (ring := rings(result)):
                self.house.bell(ring)
            return result

        return await self.in_thread(work)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work, a few at a time: the receiver's own threads are never taken."""
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(THREADS)
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    async def page(
        self, request: Request, template: str, visitor: Visitor | None, status: int = 200, **shown: Any
    ) -> HTMLResponse:
        """A page from its template; of one that htmx asks for into an element, the block of that name if it has one.

        Made in a thread: a large one takes tens of milliseconds, in which no delivery would be looked at.
        """
        context = {
            "visitor": visitor,
            "path": request.url.path,
            "query": defaultdict(str, request.query_params),
            "now": dt.datetime.now(dt.UTC),
            "link": partial(_link, request),
            **shown,
        }
        made = self.templates.get_template(template)
        part = request.headers.get("hx-target") if request.headers.get("hx-request") else None
        if part in made.blocks:
            return HTMLResponse("".join(made.blocks[part](made.new_context(context))), status)
        return HTMLResponse(await self.in_thread(lambda: made.render(context)), status)


async def form_of(request: Request) -> Form:
    """The fields of a form, the last of each name.

    Raises:
        Refused: 413 if it is too large, 400 if it is no form.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM:
            raise Refused(413, "This form is too large.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError:
        raise Refused(400, "This is no form of ours.") from None


def check_token(form: Form, wanted: str) -> None:
    """Refuse a form that did not come from a page of ours.

    Raises:
        Refused: 403.
    """
    if not hmac.compare_digest(form.get("token", "").encode(), wanted.encode()):
        raise Refused(403, "This form did not come from this console, or is too old. Load the page again.")


def check_text(*asked: Mapping[str, str]) -> None:
    """Refuse what no text in PostgreSQL can hold.

    Raises:
        Refused: 400, a NUL stands in it.
    """
    if any("\0" in value for values in asked for value in values.values()):
        raise Refused(400, "A NUL stands in what was asked for; no text of ours has one.")


def page_of(address: str | None) -> str | None:
    """Where among our pages an address leads, whatever its host: path and query; None if it leads to none."""
    try:
        parts = urlsplit(address or "")
    except ValueError:
        return None
    if not parts.path.startswith(f"{ROOT}/") or "\\" in parts.path or parts.path == f"{ROOT}/sign-in":
        return None
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _door(page: str | None) -> str:
    back = page_of(page)
    return f"{ROOT}/sign-in" + (f"?next={quote(back)}" if back else "")


def is_secure(request: Request) -> bool:
    """Whether the cookie may only travel over HTTPS: always, but for a console on this very machine."""
    return request.url.hostname not in LOOPBACK


def _link(request: Request, **changed: Any) -> str:
    """This page's address with these parameters changed; None takes one away."""
    kept = {**request.query_params, **changed}
    query = urlencode({name: value for name, value in kept.items() if value not in (None, "")})
    return request.url.path + (f"?{query}" if query else "")


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("console.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {
        "utc": words.utc, "clock": words.clock, "minute": words.minute, "field": words.field,
        "stamp": words.stamp, "ago": words.ago, "span": span, "badge": words.badge, "tone": words.tone,
        "took": words.took, "seconds": words.seconds, "number": words.number, "rate": words.rate,
        "empty_in": words.empty_in, "place": words.place_of, "decided": words.decided,
    }  # fmt: skip
    environment.filters.update(filters)
    environment.globals["root"] = ROOT
    environment.globals["short"] = words.SHORT
    return environment
