"""PostgreSQL away in all its ways, over real HTTP: the batch waits on disk, and its receipts come in their order."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from databases import WAITS
from running_receiver import NEWER, OPEN, Receiver, engine_to_nowhere, receiver

from console.embedded import PostgreSQL
from freshness.ledger.batches import Entry
from jobs.house import make_engine
from receiver import health
from receiver.spool import Depth, Spool

WITHIN_S = 60.0


def entry(ref: str, stamp: Any = NEWER, event: str = "Modified") -> dict[str, Any]:
    return {"eventType": event, "referenceNumber": ref, "values": {"sLastModifiedTimestamp": stamp}}


def stored(ref: str, stamp: Any = NEWER) -> Entry:
    return Entry(ref, None, "Modified", stamp)


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def until(holds: Callable[[], bool]) -> None:
    """Return once it holds; nobody can be told of it otherwise."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)


def drained(served: Receiver, spool: Spool) -> list[Any]:
    """Receipts in the order in which they were decided, once nothing waits."""
    until(spool.is_empty)
    return list(served.rows("SELECT * FROM mlm_webhook_receipts ORDER BY id"))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """The spool, as another process would see it."""
    return Spool(tmp_path / "spool")


@contextlib.contextmanager
def spooling(url: str | sa.Engine, tmp_path: Path) -> Iterator[Receiver]:
    engine = make_engine(url, 6, "test") if isinstance(url, str) else url
    with receiver(engine, {**OPEN, "SPOOL_DIR": str(tmp_path / "spool")}) as served:
        yield served
    engine.dispose()


def test_batches_wait_while_postgresql_is_stopped_and_are_decided_in_order_once_it_is_back(
    postgresql: PostgreSQL, tmp_path: Path, spool: Spool
) -> None:
    with spooling(postgresql.url, tmp_path) as served:
        served.seed("R1")
        postgresql.stop()
        began = utc_now()
        answers = [served.post(json=[entry("R1", f"2026-11-01T1{n}:00:00Z"), entry(f"U{n}")]) for n in range(1, 6)]
        ended = utc_now()
        assert [answer.status_code for answer in answers] == [202] * 5
        assert answers[0].json() == {"received": 2, "spooled": 2}
        assert served.rings == []
        postgresql.start()
        receipts = drained(served, spool)
        assert [r.reference_number for r in receipts] == [ref for n in range(1, 6) for ref in ("R1", f"U{n}")]
        assert [r.outcome for r in receipts] == ["dispatched", "unknown_file"] * 5
        assert [r.received_at for r in receipts] == sorted(r.received_at for r in receipts)
        assert all(began <= r.received_at <= ended for r in receipts)
        assert served.rows("SELECT ordered FROM file_freshness") == [(5,)]
        assert served.rings
        assert served.post(json=[entry("R1", "2026-11-01T19:00:00Z")]).status_code == 200


def test_what_waits_holds_what_receipts_hold_and_nothing_else_of_the_body(tmp_path: Path) -> None:
    with spooling(engine_to_nowhere(), tmp_path) as served:
        sent = {**entry("R1"), "loanNumber": "2026110096", "borrower": "Ann Quill"}
        sent["values"]["aBSsn"] = "123-45-6789"
        assert served.post(json=[sent, "loose text"]).status_code == 202
    (path,) = (tmp_path / "spool").glob("*.batch")
    received_at, entries = json.loads(path.read_bytes()[16:])
    assert entries == [["R1", "2026110096", "Modified", NEWER, None], [None, None, None, None, "not an object"]]
    assert dt.datetime.fromisoformat(received_at) <= utc_now()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_wrong_with_a_delivery_is_told_as_ever(tmp_path: Path, spool: Spool) -> None:
    with spooling(engine_to_nowhere(), tmp_path) as served:
        answers = [
            served.post(token="wrong", json=[]),
            served.post(content=b"[" + b" " * 6 * 1024 * 1024),
            served.post(content=b"[1,"),
            served.post(content=b"3"),
        ]
        assert [answer.status_code for answer in answers] == [401, 413, 400, 422]
    assert spool.depth() == Depth(0, 0)


def test_the_portals_routes_do_not_wait_on_disk(tmp_path: Path, spool: Spool) -> None:
    with spooling(engine_to_nowhere(), tmp_path) as served:
        for answer in (served.portal("/loans/R1/mlm/own-writes"), served.portal("/loans/R1/mlm/refresh")):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert spool.is_empty()


def test_who_has_a_spool_is_ready_without_postgresql_and_tells_how_much_waits(tmp_path: Path) -> None:
    with spooling(engine_to_nowhere(), tmp_path) as served:
        for n in range(3):
            served.post(json=[entry(f"R{n}")])
        answer = served.get("/readyz", token=None)
    said = {"status": "ok", "postgresql": "away", "redis": "not configured"}
    assert (answer.status_code, answer.json()) == (200, {**said, "spool": "ok", "spooled": 3, "set_aside": 0})


def test_a_postgresql_that_takes_no_notice_is_asked_once_and_away_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "WITHIN_S", 0.1)
    monkeypatch.setattr(health, "SERVES_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(WITHIN_S)
        silent_url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        with spooling(silent_url, tmp_path) as served:
            said = [served.get("/readyz") for _ in range(3)]
            silent.accept()[0].close()
            silent.settimeout(0)
            with pytest.raises(BlockingIOError):
                silent.accept()
    assert [(answer.status_code, answer.json()["postgresql"]) for answer in said] == [(200, "away")] * 3


def test_a_spool_that_cannot_be_written_to_is_not_needed_while_postgresql_is_there(
    engine: sa.Engine, tmp_path: Path
) -> None:
    with receiver(engine, {**OPEN, "SPOOL_DIR": str(tmp_path / "spool")}) as served:
        (tmp_path / "spool").rename(tmp_path / "gone")
        answer = served.get("/readyz")
        assert (answer.status_code, answer.json()["spool"]) == (200, "cannot be read")
        assert served.post(json=[entry("R1")]).status_code == 200


def test_with_neither_postgresql_nor_disk_the_sender_is_told_to_try_again(tmp_path: Path) -> None:
    with spooling(engine_to_nowhere(), tmp_path) as served:
        (tmp_path / "spool").rename(tmp_path / "gone")
        answer = served.post(json=[entry("R1")])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.headers["content-type"] == "application/problem+json"
        assert served.get("/readyz").status_code == 503


def test_while_anything_waits_new_batches_go_behind_it_though_postgresql_is_there(
    engine: sa.Engine, tmp_path: Path, spool: Spool
) -> None:
    """The test is the one that drains, and does not: as another receiver that has just begun would."""
    with spool.drained_here() as ours, receiver(engine, {**OPEN, "SPOOL_DIR": str(tmp_path / "spool")}) as served:
        assert ours
        served.seed("R1")
        spool.put([stored("R1", "2026-11-01T11:00:00Z")], utc_now())
        answer = served.post(json=[entry("R1", "2026-11-01T12:00:00Z")])
        assert (answer.status_code, spool.depth().waiting) == (202, 2)
        assert served.rows("SELECT 1 FROM mlm_webhook_receipts") == []
        assert served.get("/readyz").json()["spooled"] == 2
    with receiver(engine, {**OPEN, "SPOOL_DIR": str(tmp_path / "spool")}) as served:
        texts = [receipt.last_modified_text for receipt in drained(served, spool)]
        assert texts == ["2026-11-01T11:00:00Z", "2026-11-01T12:00:00Z"]


def test_while_anything_waits_postgresql_without_the_disk_is_not_enough(
    engine: sa.Engine, tmp_path: Path, spool: Spool
) -> None:
    spool.put([stored("R1")], utc_now())
    numbers = tmp_path / "spool" / "numbers"
    with spool.drained_here(), receiver(engine, {**OPEN, "SPOOL_DIR": str(tmp_path / "spool")}) as served:
        numbers.rename(tmp_path / "numbers")
        numbers.mkdir()  # nothing can be put: its lock cannot be opened
        answer = served.get("/readyz")
        said = {key: answer.json()[key] for key in ("postgresql", "spool", "spooled")}
        assert said == {"postgresql": "ok", "spool": "cannot be written to", "spooled": 1}
        assert (answer.status_code, served.post(json=[entry("R1")]).status_code) == (503, 503)


def test_what_a_dead_process_left_is_decided_by_the_next(engine: sa.Engine, tmp_path: Path, spool: Spool) -> None:
    came = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
    for n in range(1, 4):
        spool.put([stored(f"R{n}")], came + dt.timedelta(seconds=n))
    with receiver(engine, {**OPEN, "SPOOL_DIR": str(tmp_path / "spool")}) as served:
        receipts = drained(served, spool)
        assert [(r.reference_number, r.received_at.second) for r in receipts] == [("R1", 1), ("R2", 2), ("R3", 3)]


def test_a_clock_that_is_ahead_does_not_date_a_receipt_after_its_decision(
    engine: sa.Engine, tmp_path: Path, spool: Spool
) -> None:
    spool.put([stored("R1")], utc_now() + dt.timedelta(days=30))
    with receiver(engine, {**OPEN, "SPOOL_DIR": str(tmp_path / "spool")}) as served:
        (receipt,) = drained(served, spool)
        assert receipt.received_at <= served.rows("SELECT mlm_now()")[0][0]


def test_a_torn_batch_is_set_aside_and_told_and_costs_no_other(
    engine: sa.Engine, tmp_path: Path, spool: Spool, capfd: pytest.CaptureFixture[str]
) -> None:
    for n in range(1, 4):
        spool.put([stored(f"R{n}")], utc_now())
    last = spool.waiting()[2]
    last.write_bytes(last.read_bytes()[:-3])
    with receiver(engine, {**OPEN, "SPOOL_DIR": str(tmp_path / "spool")}) as served:
        receipts = drained(served, spool)
        assert [receipt.reference_number for receipt in receipts] == ["R1", "R2"]
        said = served.get("/readyz").json()
        assert (said["spooled"], said["set_aside"]) == (0, 1)
    assert (tmp_path / "spool" / "aside" / last.name).exists()
    assert "spool.set_aside" in capfd.readouterr().out


def test_a_batch_that_cannot_be_decided_is_set_aside_and_not_in_the_way(
    own_engine: sa.Engine, tmp_path: Path, spool: Spool
) -> None:
    with own_engine.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE mlm_webhook_receipts ADD CHECK (reference_number <> 'R2')")
    for n in range(1, 4):
        spool.put([stored(f"R{n}")], utc_now())
    poisoned = spool.waiting()[1]
    with receiver(own_engine, {**OPEN, "SPOOL_DIR": str(tmp_path / "spool")}) as served:
        receipts = drained(served, spool)
        assert [receipt.reference_number for receipt in receipts] == ["R1", "R3"]
        assert [path.name for path in (tmp_path / "spool" / "aside").iterdir()] == [poisoned.name]


def test_what_waits_for_a_migration_is_not_set_aside(
    own_engine: sa.Engine, tmp_path: Path, spool: Spool, capfd: pytest.CaptureFixture[str]
) -> None:
    rename = "ALTER TABLE {} RENAME TO {}"
    with own_engine.begin() as conn:
        conn.exec_driver_sql(rename.format("mlm_webhook_receipts", "for_now"))
    spool.put([stored("R1")], utc_now())
    with receiver(own_engine, {**OPEN, "SPOOL_DIR": str(tmp_path / "spool")}) as served:
        until(lambda: "spool.waits" in capfd.readouterr().out)
        assert spool.depth() == Depth(1, 0)
        with own_engine.begin() as conn:
            conn.exec_driver_sql(rename.format("for_now", "mlm_webhook_receipts"))
        assert len(drained(served, spool)) == 1


def test_a_server_that_became_read_only_is_away_and_its_connections_are_not_kept(
    own_engine: sa.Engine, database_url: str, tmp_path: Path, spool: Spool
) -> None:
    """As after a failover: connections to the old primary live on, and only new ones reach the new one."""
    name = own_engine.url.database
    read_only = f'ALTER DATABASE "{name}" SET default_transaction_read_only'
    with own_engine.begin() as conn:
        conn.exec_driver_sql(f"{read_only} = on")
    with spooling(database_url, tmp_path) as served:
        assert served.post(json=[entry("R1")]).status_code == 202
        assert served.get("/readyz").json()["postgresql"] == "read only"
        with own_engine.begin() as conn:
            conn.exec_driver_sql("SET LOCAL transaction_read_only = off")
            conn.exec_driver_sql(f"{read_only} = off")
        assert len(drained(served, spool)) == 1


def test_a_lock_that_takes_too_long_is_told_and_does_not_wait_on_disk(
    own_engine: sa.Engine, database_url: str, tmp_path: Path, spool: Spool
) -> None:
    with own_engine.begin() as conn:
        conn.exec_driver_sql(f"ALTER DATABASE \"{own_engine.url.database}\" SET lock_timeout = '50ms'")
    impatient = sa.create_engine(own_engine.url)
    with spooling(impatient, tmp_path) as served:
        served.seed("R1")
        with own_engine.begin() as conn:
            conn.exec_driver_sql("SELECT 1 FROM file_freshness FOR UPDATE")
            answer = served.post(json=[entry("R1")])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert spool.is_empty()


def test_a_connection_that_an_administrator_ends_under_a_batch_is_postgresql_away(
    own_engine: sa.Engine, database_url: str, tmp_path: Path, spool: Spool
) -> None:
    with spooling(database_url, tmp_path) as served:
        served.seed("R1")
        with own_engine.begin() as holder, own_engine.connect() as other:
            holder.exec_driver_sql("SELECT 1 FROM file_freshness FOR UPDATE")
            answers: list[Any] = []
            thread = threading.Thread(target=lambda: answers.append(served.post(json=[entry("R1")])))
            thread.start()
            ended = f"SELECT pg_terminate_backend(pid) FROM ({WAITS}) waiting"
            until(lambda: bool(other.exec_driver_sql(ended).all()))
            thread.join()
        assert answers[0].status_code == 202
        (receipt,) = drained(served, spool)
        assert receipt.outcome == "dispatched"


def test_a_pool_that_has_no_connection_left_is_postgresql_away(
    own_engine: sa.Engine, tmp_path: Path, spool: Spool
) -> None:
    narrow = sa.create_engine(own_engine.url, pool_size=1, max_overflow=0, pool_timeout=0.2)
    with spooling(narrow, tmp_path) as served:
        with narrow.connect():
            assert served.post(json=[entry("R1")]).status_code == 202
        assert len(drained(served, spool)) == 1


@pytest.mark.parametrize(
    ("sent", "outcomes", "orders"),
    [
        (entry("R1"), ["dispatched", "already_ordered"], 1),
        (entry("R1", None), ["dispatched", "dispatched"], 2),
        (entry("R1", event="Deleted"), ["dispatched", "dispatched"], 2),
    ],
    ids=["with a stamp", "without a stamp", "deleted"],
)
def test_a_commit_that_nobody_heard_of_is_made_twice_and_does_no_harm(
    own_engine: sa.Engine, tmp_path: Path, spool: Spool, sent: dict[str, Any], outcomes: Sequence[str], orders: int
) -> None:
    """The connection is lost after PostgreSQL has committed, before it could say so. A stamp that was ordered is not
    ordered again; what has none is read once more."""
    with Deaf(own_engine.url) as between, spooling(between.url, tmp_path) as served:
        served.seed("R1")
        between.mute_next_commit()
        assert served.post(json=[sent]).status_code == 202
        with own_engine.connect() as conn:
            assert conn.exec_driver_sql("SELECT count(*) FROM mlm_webhook_receipts").scalar_one() == 1
        between.hear_again()
        receipts = drained(served, spool)
        assert [receipt.outcome for receipt in receipts] == outcomes
        assert served.rows("SELECT ordered FROM file_freshness") == [(orders,)]


class Deaf:
    """Stands between the receiver and PostgreSQL; asked to, it delivers a COMMIT, keeps the answer to itself, closes
    everything and takes no new connection until it hears again."""

    def __init__(self, target: sa.URL) -> None:
        self._target = (target.host, target.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = target.set(
            drivername="postgresql", host="127.0.0.1", port=self._listener.getsockname()[1]
        ).render_as_string(hide_password=False)
        self._mute = self._deaf = self._over = False

    def __enter__(self) -> Deaf:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._listener.close()

    def mute_next_commit(self) -> None:
        self._mute = True

    def hear_again(self) -> None:
        self._deaf = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server, contextlib.suppress(OSError):
            while not self._deaf and not self._over:
                for ready in select.select([client, server], [], [], 0.05)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (server if ready is client else client).sendall(data)
                    if ready is client and self._mute and b"COMMIT" in data:
                        self._mute, self._deaf = False, True
                        server.recv(65536)
                        return
