"""The web console as its users meet it: the receiver's real app on a free port, as `freshness receiver` composes it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import sqlalchemy as sa

from console.pages.app import console_routes
from freshness.passwords import hashed
from freshness.settings import load
from jobs.house import House
from receiver.app import make_app
from receiver.doors import Door
from receiver.server import Server

READER, OPERATOR, PASSWORD = "rita", "olaf", "correct horse"
USERS = f"{READER}:reader:{hashed(PASSWORD)},{OPERATOR}:operator:{hashed(PASSWORD)}"
TOKEN = re.compile(r'name="token" value="([^"]+)"')
SAID = re.compile(r"<p[^>]*>([^<]*)</p>")


@dataclass
class Person:
    """Somebody with a browser's memory for cookies, and nothing more."""

    web: httpx.Client
    token: str = ""

    def sign_in(self, name: str, password: str = PASSWORD, **headers: str) -> httpx.Response:
        form = self.web.get("/console/sign-in")
        token = TOKEN.findall(form.text)[0]
        fields = {"name": name, "password": password, "token": token}
        answer = self.web.post("/console/sign-in", data=fields, headers=headers)
        if answer.status_code == 303:
            self.token = TOKEN.findall(self.web.get("/console/actions").text)[0]
        return answer

    def get(self, path: str) -> httpx.Response:
        return self.web.get(f"/console{path}")

    def page(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return answer.text

    def post(self, path: str, **fields: str) -> httpx.Response:
        return self.web.post(f"/console{path}", data={"token": self.token, **fields})


@dataclass
class Console:
    """A running receiver with its console."""

    url: str
    engine: sa.Engine
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def nobody(self) -> Person:
        return Person(self._stack.enter_context(httpx.Client(base_url=self.url, timeout=30, trust_env=False)))

    def person(self, name: str) -> Person:
        """Somebody who is signed in. Whoever is told that PostgreSQL has no time tries once more: that is what it says
        if a connection takes five seconds, and beside tests that make databases and start processes one may."""
        person = self.nobody()
        answer = person.sign_in(name)
        if answer.status_code == 503:
            answer = person.sign_in(name)
        assert answer.status_code == 303, (answer.status_code, SAID.findall(answer.text))
        return person

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.engine.begin() as conn:
            return [tuple(row) for row in conn.exec_driver_sql(query)]


class _Server(Server):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextlib.contextmanager
def console(engine: sa.Engine, environ: Mapping[str, str]) -> Iterator[Console]:
    """Serve until the block ends."""
    settings = load(environ)
    house = House(settings, "receiver", threads=4)
    door = Door.of((), proxies=settings.trusted_proxies)
    app = make_app(
        settings=settings, rules=house.rules, engine=engine, bell=house.bell, redis_url=settings.redis_url, threads=4,
        more_routes=console_routes(settings, lambda request: str(door.caller(request))),
    )  # fmt: skip
    server = _Server(app, "127.0.0.1", 0, 5)
    thread = threading.Thread(target=server.run)
    thread.start()
    with contextlib.ExitStack() as stack:
        try:
            assert server.up.wait(20)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Console(f"http://127.0.0.1:{port}", engine, stack)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the server did not stop"
