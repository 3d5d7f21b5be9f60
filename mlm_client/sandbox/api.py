"""The JSON API under /api: what tests, the demo and people turn and look at. For loopback; it asks for no password.

Errors are `{"error": "…"}`: 400 for an order that cannot be carried out, 404 for a file that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mlm_client.sandbox.calls import CallLog, call_json
from mlm_client.sandbox.deliveries import Deliveries, delivery_json
from mlm_client.sandbox.editing import BadEdit, Done, convert, create, edit, renumber, touch
from mlm_client.sandbox.files import Store, UnknownFile, Version
from mlm_client.sandbox.knobs import Dials, KnobError, Knobs
from mlm_client.sandbox.making import Maker
from mlm_client.sandbox.oauth import Tickets
from mlm_client.sandbox.stamps import stamp_text, utc_text

Answer = tuple[int, Any]
Handler = Callable[[Request, dict[str, Any]], Answer]


def file_json(version: Version, knobs: Knobs) -> dict[str, Any]:
    """Everything that MLM has of a file, values in canonical text."""
    content = version.content
    return {
        **file_head(version, knobs),
        "fields": content.fields,
        "applicants": [{"fields": each.fields, "collections": each.collections} for each in content.applicants],
        "collections": content.collections,
    }


def file_head(version: Version, knobs: Knobs) -> dict[str, Any]:
    """Which file this is and how old. `stamp` is UTC with seven digits, `stamp_text` what reads show."""
    return {
        "ref": version.content.ref,
        "number": version.content.number,
        "kind": "lead" if version.content.is_lead else "loan",
        "deleted": version.deleted,
        "version": version.number,
        "stamp": utc_text(version.stamp),
        "stamp_text": stamp_text(version.stamp, knobs),
    }


@dataclass(frozen=True)
class Api:
    """The handlers over the parts of one sandbox."""

    store: Store
    dials: Dials
    maker: Maker
    tickets: Tickets
    calls: CallLog
    deliveries: Deliveries

    def routes(self) -> list[Route]:
        """Every route of the API."""
        store = self.store
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/api/health", lambda request, order: (200, {"status": "ok", "files": len(store.refs())})),
            ("GET", "/api/files", self._list),
            ("POST", "/api/files", self._create),
            ("GET", "/api/files/{ref}", lambda request, order: self._file(store.newest(_ref(request)))),
            ("DELETE", "/api/files/{ref}", lambda request, order: self._head(store.delete(_ref(request)))),
            ("POST", "/api/files/{ref}/edit", lambda request, order: self._done(self._edit(_ref(request), order))),
            ("POST", "/api/files/{ref}/touch/{concern}", self._touch),
            ("POST", "/api/files/{ref}/restore", lambda request, order: self._head(store.restore(_ref(request)))),
            ("POST", "/api/files/{ref}/renumber", self._renumber),
            ("POST", "/api/files/{ref}/convert", self._convert),
            ("POST", "/api/files/{ref}/recompute", lambda request, order: self._head(store.recompute(_ref(request)))),
            ("POST", "/api/late-saves", lambda request, order: (200, {"next_s": store.run_pending(all_now=True)})),
            ("POST", "/api/backups", self._back_up),
            ("POST", "/api/backups/{backup}/rollback", self._roll_back),
            ("GET", "/api/knobs", lambda request, order: (200, self.dials.now.as_json())),
            ("GET", "/api/knobs/help", lambda request, order: (200, Knobs.describe())),
            ("PATCH", "/api/knobs", self._turn),
            ("DELETE", "/api/knobs", self._reset),
            ("GET", "/api/webhook", lambda request, order: (200, {"url": self.deliveries.url})),
            ("PUT", "/api/webhook", self._target),
            ("GET", "/api/deliveries", self._deliveries),
            ("POST", "/api/deliveries/resend", self._resend),
            ("GET", "/api/calls", self._calls),
            ("DELETE", "/api/calls", self._forget_calls),
            ("POST", "/api/tokens/revoke", lambda request, order: (200, {"revoked": self.tickets.revoke()})),
        ]  # fmt: skip
        return [Route(path, _endpoint(handler), methods=[method]) for method, path, handler in table]

    def _head(self, version: Version, status: int = 200) -> Answer:
        return status, file_head(version, self.dials.now)

    def _file(self, version: Version, status: int = 200) -> Answer:
        return status, file_json(version, self.dials.now)

    def _done(self, done: Done) -> Answer:
        return 200, {**file_head(done.version, self.dials.now), "changes": done.changes}

    def _edit(self, ref: str, order: dict[str, Any]) -> Done:
        return edit(self.store, self.maker, ref, order)

    def _list(self, request: Request, order: dict[str, Any]) -> Answer:
        refs = self.store.refs(deleted=True)
        return 200, {"files": [file_head(self.store.newest(ref), self.dials.now) for ref in refs]}

    def _create(self, request: Request, order: dict[str, Any]) -> Answer:
        kind, fields = order.get("kind", "loan"), order.get("fields") or {}
        if kind not in ("loan", "lead") or not isinstance(fields, dict):
            raise BadEdit('kind is "loan" or "lead", fields an object')
        made = create(self.store, self.maker, kind == "lead", fields, order.get("seed"))
        return self._file(made, 201)

    def _touch(self, request: Request, order: dict[str, Any]) -> Answer:
        concern = request.path_params["concern"]
        return self._done(touch(self.store, self.maker, _ref(request), concern, order.get("op", "change")))

    def _renumber(self, request: Request, order: dict[str, Any]) -> Answer:
        number = order.get("number")
        if not isinstance(number, str) or not number:
            raise BadEdit("number is a text")
        return self._done(renumber(self.store, self.maker, _ref(request), number))

    def _convert(self, request: Request, order: dict[str, Any]) -> Answer:
        return self._head(convert(self.store, _ref(request), bool(order.get("keep_reference", True))))

    def _back_up(self, request: Request, order: dict[str, Any]) -> Answer:
        return 201, {"backup": self.store.back_up([order["ref"]] if "ref" in order else None)}

    def _roll_back(self, request: Request, order: dict[str, Any]) -> Answer:
        try:
            return 200, {"changed": self.store.roll_back(int(request.path_params["backup"]))}
        except (KeyError, ValueError):
            raise BadEdit(f"no backup {request.path_params['backup']}") from None

    def _turn(self, request: Request, order: dict[str, Any]) -> Answer:
        return 200, self.dials.patch(**order).as_json()

    def _reset(self, request: Request, order: dict[str, Any]) -> Answer:
        return 200, self.dials.reset().as_json()

    def _target(self, request: Request, order: dict[str, Any]) -> Answer:
        url, token = order.get("url"), order.get("token", self.deliveries.token)
        if not all(each is None or isinstance(each, str) for each in (url, token)):
            raise BadEdit("url and token are texts or null")
        self.deliveries.target(url, token)
        return 200, {"url": url}

    def _deliveries(self, request: Request, order: dict[str, Any]) -> Answer:
        log = [delivery_json(each) for each in self.deliveries.log(_limit(request))]
        return 200, {**self.deliveries.counters(), "deliveries": log}

    def _resend(self, request: Request, order: dict[str, Any]) -> Answer:
        batches = order.get("batches", [])
        if "last" in order:
            numbers = sorted({each.batch for each in self.deliveries.log()})
            batches = numbers[-int(order["last"]) :]
        return 202, {"resent": self.deliveries.resend(batches, order.get("refs", []))}

    def _calls(self, request: Request, order: dict[str, Any]) -> Answer:
        asked = request.query_params
        calls = self.calls.newest(asked.get("operation", ""), asked.get("ref", ""), _limit(request))
        return 200, {**self.calls.counters(), "calls": [call_json(each) for each in calls]}

    def _forget_calls(self, request: Request, order: dict[str, Any]) -> Answer:
        self.calls.clear()
        return 200, self.calls.counters()


def _ref(request: Request) -> str:
    return str(request.path_params["ref"])


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "1000")
    if not text.isdecimal():
        raise BadEdit("limit is a whole number")
    return int(text)


def _endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """`handler` with its body read, off the event loop, and its errors told."""

    async def endpoint(request: Request) -> Response:
        try:
            order = json.loads(await request.body() or b"{}")
            if not isinstance(order, dict):
                raise BadEdit("the body is a JSON object")
            status, answer = await run_in_threadpool(handler, request, order)
        except UnknownFile as unknown:
            status, answer = 404, {"error": str(unknown.args[0])}
        except (BadEdit, KnobError) as bad:
            status, answer = 400, {"error": str(bad)}
        except (ValueError, TypeError):
            status, answer = 400, {"error": "the body is not what this route takes"}
        return JSONResponse(answer, status)

    return endpoint
