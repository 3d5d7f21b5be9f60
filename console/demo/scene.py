"""Who takes part in the demo: MLM and an outsider in it, the portal, and our copy, each as it is seen from outside.

MLM is turned through the sandbox's JSON API, the portal speaks to the receiver over HTTP and to MLM through the real
client, and the copy is read in PostgreSQL. Nothing waits for a fixed time: `until` looks until a thing has happened.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from sqlalchemy import Row

from console.errors import StepFailed
from console.laptop import Laptop
from freshness.ledger.calibration import calibration_of
from freshness.ledger.status import FileStatus, freshness_of
from mlm_client.client import MlmClient
from mlm_client.saving import SaveContent

from .comparing import Difference, differences

T = TypeVar("T")

LOOK_EVERY_S = 0.02


def until(what: str, look: Callable[[], T | None], within_s: float = 20.0) -> T:
    """What `look` finds, as soon as it finds something; `StepFailed` names `what` if it never does."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise StepFailed(f"{what}: not within {within_s:g} s")
        time.sleep(LOOK_EVERY_S)


def expect(holds: object, what: str) -> None:
    """`StepFailed` unless it holds."""
    if not holds:
        raise StepFailed(f"expected, and not so: {what}")


class Mlm:
    """The sandbox, and an outsider at its keyboard."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api", trust_env=False, timeout=10)

    def files(self) -> list[dict[str, Any]]:
        """The heads of all files: `ref`, `kind`, …"""
        files: list[dict[str, Any]] = self._ask("GET", "/files")["files"]
        return files

    def file(self, ref: str) -> dict[str, Any]:
        """Everything MLM has of a file."""
        return self._ask("GET", f"/files/{ref}")

    def touch(self, ref: str, concern: str) -> str:
        """An outsider edits something in this concern. Returns the new stamp as webhook and reads write it."""
        touched = self._ask("POST", f"/files/{ref}/touch/{concern}")
        expect(touched["changes"], f"a touch of {concern} changes something")
        return str(touched["stamp_text"])

    def convert(self, ref: str) -> str:
        """The lead becomes a loan. Returns the new stamp."""
        return str(self._ask("POST", f"/files/{ref}/convert")["stamp_text"])

    def delete(self, ref: str) -> str:
        """The file is deleted. Returns the stamp of that."""
        return str(self._ask("DELETE", f"/files/{ref}")["stamp_text"])

    @contextmanager
    def turned(self, **knobs: Any) -> Iterator[None]:
        """Some knobs turned for as long as the block runs."""
        before = self._ask("GET", "/knobs")
        self._ask("PATCH", "/knobs", **knobs)
        try:
            yield
        finally:
            self._ask("PATCH", "/knobs", **{name: before[name] for name in knobs})

    def _ask(self, method: str, path: str, **order: Any) -> dict[str, Any]:
        response = self._http.request(method, path, json=order or None)
        expect(response.is_success, f"the sandbox takes {method} /api{path} (it answered {response.status_code})")
        answer: dict[str, Any] = response.json()
        return answer


class Portal:
    """Portal code: own writes over HTTP, saves through the real client, its own half in SQL."""

    def __init__(self, laptop: Laptop) -> None:
        token = laptop.settings.portal_api_token[0]
        self._http = httpx.Client(
            base_url=f"{laptop.receiver_url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=10,
        )
        self._client = MlmClient(laptop.house.mlm_config)
        self._engine = laptop.house.engine

    @contextmanager
    def own_write(self, ref: str, capture: bool) -> Iterator[list[str]]:
        """An own write of a loan around the block. The list is empty until the exit, then holds what it came to."""
        written = self._ask("POST", f"/loans/{ref}/mlm/own-writes", capture=capture)
        outcome: list[str] = []
        yield outcome
        path = f"/loans/{ref}/mlm/own-writes/{written['id']}/exit"
        outcome.append(self._ask("POST", path, ok=True)["outcome"])

    def save(self, file: dict[str, Any], field: str, value: str, column: str) -> None:
        """Save a loan field to MLM, then the portal's local half: the same value in our table."""
        self._client.save(file["number"], SaveContent(fields={field: value}))
        with self._engine.begin() as conn:
            update = f"UPDATE loans SET {column} = %(value)s WHERE mlm_reference_number = %(ref)s"  # noqa: S608
            conn.exec_driver_sql(update, {"value": value, "ref": file["ref"]})

    def freshness(self, kind: str, ref: str) -> dict[str, Any]:
        """What the portal is told of a file; `kind` is loans or leads."""
        return self._ask("GET", f"/{kind}/{ref}/freshness")

    def _ask(self, method: str, path: str, **order: Any) -> dict[str, Any]:
        response = self._http.request(method, path, json=order or None)
        expect(response.is_success, f"the receiver takes {method} {path} (it answered {response.status_code})")
        answer: dict[str, Any] = response.json()
        return answer


class Page:
    """A portal's page: hears every announcement of the event stream from its opening on."""

    def __init__(self, laptop: Laptop) -> None:
        self._heard: list[tuple[str, str]] = []
        self._open = threading.Event()
        self._url = f"{laptop.receiver_url}/api/v1/events"
        self._headers = {"Authorization": f"Bearer {laptop.settings.portal_api_token[0]}"}
        threading.Thread(target=self._listen, name="page", daemon=True).start()
        expect(self._open.wait(10), "the receiver opens an event stream")

    def hears(self, kind: str, ref: str) -> None:
        """Wait until an event of this kind was heard of this file."""
        until(f"{ref}: a page hears {kind}", lambda: (kind, ref) in self._heard)

    def counted(self) -> str:
        """What was heard so far."""
        counts = Counter(kind for kind, _ in self._heard)
        return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))

    def _listen(self) -> None:
        timeout = httpx.Timeout(10, read=None)
        with (
            suppress(httpx.HTTPError),  # the receiver ends with the demo, or the demo tells what is missing
            httpx.Client(headers=self._headers, trust_env=False, timeout=timeout) as http,
            http.stream("GET", self._url) as response,
        ):
            for line in response.iter_lines():
                if response.is_success:
                    self._open.set()
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    self._heard.append((event["kind"], event.get("ref", "")))


_RECEIPTS = """
SELECT * FROM mlm_webhook_receipts WHERE reference_number = %(ref)s AND last_modified_text = ANY(%(stamps)s)
ORDER BY received_at, id
"""

_ORDERS = """
SELECT o.* FROM refresh_orders o JOIN file_freshness f ON f.id = o.file_id
WHERE f.ref = %(ref)s AND o.placed_at > %(since)s ORDER BY o.number
"""

_RUNS = """
SELECT r.* FROM slice_runs r JOIN file_freshness f ON f.id = r.file_id
WHERE f.ref = %(ref)s AND r.started_at > %(since)s ORDER BY r.id
"""

_CAPTURED = """
SELECT w.captured_at FROM own_writes w JOIN file_freshness f ON f.id = w.file_id
WHERE f.ref = %(ref)s ORDER BY w.id DESC LIMIT 1
"""


class Copy:
    """Our copy, and the ledger behind it."""

    def __init__(self, laptop: Laptop) -> None:
        self._house = laptop.house

    def now(self) -> dt.datetime:
        """PostgreSQL's clock."""
        return self.rows("SELECT mlm_now() AS now")[0].now  # type: ignore[no-any-return]

    def rows(self, query: str, **parameters: Any) -> Sequence[Row[Any]]:
        """What a query finds just now."""
        with self._house.engine.begin() as conn:
            return conn.exec_driver_sql(query, parameters).all()

    def status(self, ref: str) -> FileStatus:
        """How fresh a file is."""
        with self._house.engine.begin() as conn:
            return freshness_of(conn, self._house.rules, ref)

    def receipts(self, ref: str, *stamps: str) -> Sequence[Row[Any]]:
        """The receipts of a file's webhooks with these stamps, once there is one for each."""

        def look() -> Sequence[Row[Any]] | None:
            found = self.rows(_RECEIPTS, ref=ref, stamps=list(stamps))
            return found if {row.last_modified_text for row in found} == set(stamps) else None

        return until(f"{ref}: a receipt for the webhook of every save ({len(stamps)})", look)

    def served(self, ref: str, stamp: str) -> Row[Any]:
        """The receipt of this stamp, once its order is served."""

        def look() -> Row[Any] | None:
            receipt = self.receipts(ref, stamp)[0]
            return receipt if receipt.served_at else None

        return until(f"{ref}: the webhook's order is served by every concern", look)

    def captured(self, ref: str) -> None:
        """Wait until the newest own write of a file is captured."""
        until(f"{ref}: the own write is captured", lambda: self.rows(_CAPTURED, ref=ref)[0].captured_at)

    def orders(self, ref: str, since: dt.datetime) -> Sequence[Row[Any]]:
        """The orders of a file that were placed since."""
        return self.rows(_ORDERS, ref=ref, since=since)

    def calibrated(self) -> bool:
        """Whether a webhook's stamp has been seen to equal a read's."""
        with self._house.engine.begin() as conn:
            return calibration_of(conn).holds

    def runs(self, ref: str, since: dt.datetime) -> Sequence[Row[Any]]:
        """The runs of slices of a file that began since, finished ones."""
        return self.rows(_RUNS, ref=ref, since=since)

    def fresh(self, ref: str, within_s: float = 20.0) -> FileStatus:
        """A file's status, once it calls itself fresh."""
        status = self.status(ref)

        def look() -> FileStatus | None:
            nonlocal status
            status = self.status(ref)
            return status if status.state == "fresh" else None

        try:
            return until("", look, within_s)
        except StepFailed:
            why = f"{ref} is {status.state} after {within_s:g} s, expected fresh ({status.why})"
            raise StepFailed(why) from None

    def differences(self, file: dict[str, Any]) -> list[Difference]:
        """Where our copy of a file differs from what MLM has of it."""
        with self._house.engine.begin() as conn:
            return differences(conn, self._house.keys, file, self._house.rules.active)


@dataclass(frozen=True)
class Scene:
    """All who take part, and which files play what."""

    laptop: Laptop
    mlm: Mlm
    portal: Portal
    copy: Copy
    page: Page
    loans: tuple[str, ...]
    leads: tuple[str, ...]

    @classmethod
    def of(cls, laptop: Laptop) -> Scene:
        """The scene on a laptop with a sandbox."""
        mlm = Mlm(str(laptop.sandbox_url))
        refs = {kind: tuple(f["ref"] for f in mlm.files() if f["kind"] == kind) for kind in ("loan", "lead")}
        return cls(laptop, mlm, Portal(laptop), Copy(laptop), Page(laptop), refs["loan"], refs["lead"])

    def equal(self, ref: str) -> None:
        """The file is fresh, and our copy equals what MLM has, in every concern."""
        self.copy.fresh(ref)
        found = self.copy.differences(self.mlm.file(ref))
        expect(not found, f"{ref} equals MLM's (it differs in {len(found)} places, first {found and found[0]})")
