"""An MLM that costs next to nothing: every answer was made before, one for each question, and is sent as it stands.

    python -m benchmarks.upstream PORT

It knows one file and answers with it whatever reference is asked for. An answer is made by the sandbox when its
question is asked for the first time since the file was saved last, and found again by the question's own bytes. `POST
/saved/same` saves the file as it is: a new stamp, a second later than the one before; `POST /saved/other` with another
value in every record of it. Both answer with the stamp. Stamps lie far enough back that no read is racy.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
from typing import Any

import httptools
import uvloop

from mlm_client.sandbox.calls import Call
from mlm_client.sandbox.files import Content
from mlm_client.sandbox.server import LOAN_PATH, TOKEN_PATH, Sandbox
from mlm_client.sandbox.stamps import stamp_text

SAVED = "/saved/"
SAME, OTHER = "same", "other"
#: Makes a file that has something of everything: two people, 3 assets, 4 debts, 4 jobs, 2 properties, 3 incomes, 20
#: conditions, 10 fees.
SEED = 5
FIRST = dt.datetime(2026, 2, 1, 12, 0, 0, tzinfo=dt.UTC)

#: What is another value in every save that changes anything; and of an applicant, for whoever is there.
OF_LOAN, OF_BORROWER, OF_CO_BORROWER = "sApprVal", "aBBaseI", "aCBaseI"
OF_RECORD = {
    "aAssetCollection": "Val",
    "aLiaCollection": "Bal",
    "aBEmpCollection": "MonI",
    "aCEmpCollection": "MonI",
    "aReCollection": "Val",
    "aIncomeCollection": "MonI",
    "sCondDataSet": "AssignedTo",
    "sClosingCostFeeCollection": "Amt",
}

_ACTION = b'"http://www.lendersoffice.com/los/webservices/LoadByRefNumber"'


class Upstream:
    """The file, and the answers to what was asked about it since it was saved."""

    def __init__(self) -> None:
        self._now = FIRST.timestamp()
        self._sandbox = Sandbox(files=1, seed=SEED, now_s=lambda: self._now)
        (self._ref,) = self._sandbox.store.refs()
        token = {
            "access_token": self._sandbox.tickets.issue(),
            "token_type": "Bearer",
            "expires_in": 14400,
        }
        self._token = _http(json.dumps(token).encode(), "application/json")
        self._saves = 0
        self._answers: dict[bytes, bytes] = {}

    def answer(self, path: str, body: bytes) -> bytes:
        """The whole answer to a request, as it goes over the wire."""
        if path == LOAN_PATH:
            question = _between(body, b"sXmlQuery>")
            return self._answers.get(question) or self._make(question, body)
        if path == TOKEN_PATH:
            return self._token
        if path.startswith(SAVED):
            return _http(self._save(path.removeprefix(SAVED)).encode(), "text/plain")
        return _http(b"ready", "text/plain")

    def _make(self, question: bytes, body: bytes) -> bytes:
        asked = body.replace(_between(body, b"sLRefNm>"), self._ref.encode())
        reply = self._sandbox.service.answer(asked, _ACTION.decode(), Call(at=0.0))
        if reply.status != 200:
            raise RuntimeError(f"the sandbox answered {reply.status}")
        made = self._answers[question] = _http(reply.body, reply.content_type)
        return made

    def _save(self, how: str) -> str:
        self._answers.clear()
        self._now += 1
        self._saves += how == OTHER
        version = self._sandbox.store.save(self._ref, self._other if how == OTHER else lambda content: None)
        return stamp_text(version.stamp, self._sandbox.dials.now)

    def _other(self, content: Content) -> None:
        """One of two values in turn, in every record."""
        value = f"{400_000 + self._saves % 2}.00"
        content.fields[OF_LOAN] = value
        owners = [(content.collections, {}), *((each.collections, each.fields) for each in content.applicants)]
        for collections, fields in owners:
            fields.update({name: value for name in (OF_BORROWER, OF_CO_BORROWER) if fields.get(name)})
            for collection, name in OF_RECORD.items():
                for record in collections.get(collection, ()):
                    record[name] = value


def _between(body: bytes, tag: bytes) -> bytes:
    """What stands in an element without elements, by the end of its tag's name."""
    _, _, rest = body.partition(tag)
    return rest.partition(b"<")[0]


def _http(body: bytes, content_type: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One connection, kept alive; one request at a time."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._path = ""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url.decode()

    def on_body(self, part: bytes) -> None:
        self._body.append(part)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        self._transport.write(self._upstream.answer(self._path, body))


async def _serve(port: int) -> None:
    upstream = Upstream()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(upstream), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
