"""Each process under its own role of `deploy/roles.sql`: all of the product works, and each is refused the rest."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import httpx
import psycopg
import pytest
import sqlalchemy as sa
from databases import FIELD_KEYS, database, emptied_redis, engine_on
from in_process import APP_CODE
from sqlalchemy.orm import Session
from whole_house import PORTAL_TOKEN, ROOT, Process, WholeHouse, until

from console.pages.words import place_of
from freshness import capture_mark, own_write, seed_mark
from freshness.field_keys import FieldKeys
from freshness.ledger import weeks
from freshness.ledger.files import FileRef
from freshness.ledger.rotation import sealed_tables
from freshness.tables import Base
from freshness.tables.portal import Borrower, Loan
from migrations.upgrade import upgrade
from mlm_client.sandbox.server import SandboxServer

ROLES_SQL = (ROOT / "deploy" / "roles.sql").read_text(encoding="utf-8")
PROCESSES = ("receiver", "worker", "scheduler", "console", "portal", "reader")
ROLES = tuple(f"mlm_{name}" for name in PROCESSES)
PASSWORD = "for-these-tests"
REFUSED = re.compile(r"InsufficientPrivilege|ProgrammingError|permission denied|42501")

#: Any number: these tests set passwords of roles that all databases of the server share.
LOCK = 65_304

SENDERS = {
    "MMI_SECRET": "from-mmi",
    "MAXWELL_TOKEN": "bearer-of-maxwell",
    "COLLATERALXP_TOKEN": "from-collateralxp",
    "SHOWMOJO_TOKEN": "from-showmojo",
}

AsRole = Callable[[str], str]


def give_roles(admin: psycopg.Connection, url: str) -> AsRole:
    """Run `deploy/roles.sql` on this database; what gives the URL of one of its roles."""
    admin.execute(f"SELECT pg_advisory_lock({LOCK})")
    try:
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(ROLES_SQL)
            for role in ("mlm_migrations", *ROLES):
                conn.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
    finally:
        admin.execute(f"SELECT pg_advisory_unlock({LOCK})")
    parts = sa.make_url(url)
    return lambda name: parts.set(username=f"mlm_{name}", password=PASSWORD).render_as_string(hide_password=False)


class HouseOfRoles(WholeHouse):
    """A whole house whose processes sign in as what they are."""

    def __init__(self, as_role: AsRole, *arguments: Any) -> None:
        self.as_role = as_role
        super().__init__(*arguments)

    def start(self, name: str, *arguments: str) -> Process:
        self.environment["DATABASE_URL"] = self.as_role(name)
        return super().start(name, *arguments)

    def run_as(self, role: str, *arguments: str) -> str:
        """Run a command to its good end under this role; what it printed."""
        self.environment["DATABASE_URL"] = self.as_role(role)
        done = self.run(*arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def post(self, path: str, **body: Any) -> Any:
        answer = httpx.post(
            f"{self.url}/api/v1{path}", json=body, headers={"Authorization": f"Bearer {PORTAL_TOKEN}"}, timeout=30
        )
        assert answer.is_success, (path, answer.text)
        return answer.json() if answer.content else None

    def refusals(self) -> list[str]:
        """What PostgreSQL has refused a process so far, as their logs tell it."""
        logged = [each.log.read_text(encoding="utf-8") for each in self.processes]
        return [line for text in logged for line in text.splitlines() if REFUSED.search(line)]


@pytest.fixture(scope="module")
def admin(_admin: psycopg.Connection) -> psycopg.Connection:
    return _admin


@pytest.fixture(scope="module")
def migrated(admin: psycopg.Connection) -> Iterator[tuple[str, AsRole]]:
    """A database with roles."""
    with database(admin, "roles") as url:
        yield url, give_roles(admin, url)


@pytest.fixture(scope="module")
def house(migrated: tuple[str, AsRole], tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseOfRoles]:
    url, as_role = migrated
    with SandboxServer(files=12, seed=7) as mlm:
        environment = {
            "DATABASE_URL": url,
            "REDIS_URL": emptied_redis(),
            "FIELD_KEYS": FIELD_KEYS,
            "CONSOLE_DATABASE_URL": as_role("console"),
            "CONSOLE_PASSWORD": "sesame",
            "MLM_APP_CODE": APP_CODE,
            "MLM_POLL_EVERY": "1",
            "MLM_QUIET": "1",
            "MLM_AUDIT_EVERY": "1",
            "MLM_AUDIT_SHARE": "0.1",
            "MLM_CONFIRM_EVERY": "1",
            **SENDERS,
        }
        house = HouseOfRoles(as_role, environment, mlm, tmp_path_factory.mktemp("house"))
        try:
            yield house
        finally:
            house.close()


def test_files_are_imported_edited_captured_created_purged_and_confirmed(house: HouseOfRoles):
    told = json.loads(house.run_as("console", "import", "R000001", "R000002", "R000003", "R000004", "--json"))
    assert told["served"] == 4
    for concern in ("loan_fields", "borrowers", "liabilities"):
        house.touch("R000001", concern)
    until(lambda: house.differences("R000001") == [], "the edits are here")
    own = house.post("/loans/R000002/mlm/own-writes")["id"]
    assert house.post(f"/loans/R000002/mlm/own-writes/{own}/exit", ok=True)["outcome"] in ("capturing", "ordered")
    house.post("/loans/R000003/mlm/capture-mark")
    house.post("/loans/R000003/mlm/refresh")
    house.post("/loans/R000005/mlm/seed-mark")
    house.post("/events/tickets")
    house.mlm.store.delete("R000004")
    missing = "SELECT FROM file_freshness WHERE ref = 'R000004' AND not_found_at IS NOT NULL"
    house.order("R000004")
    until(lambda: house.rows(missing), "MLM has not found the file")
    house.rows("UPDATE file_freshness SET not_found_at = not_found_at - interval '1 hour' WHERE ref = 'R000004'")
    house.order("R000004")
    until(lambda: house.state("R000004") == "deleted", "the file is purged")
    for ref in ("R000001", "R000002", "R000003"):
        house.rests(ref)
    until(lambda: house.state("R000005") == "fresh", "what the portal created is taken for fresh")
    until(lambda: house.rows("SELECT FROM backstop_runs WHERE backstop = 'poll' AND looked > 0"), "MLM is polled")
    until(lambda: house.rows("SELECT FROM backstop_runs WHERE backstop = 'audit' AND looked > 0"), "files are audited")
    assert house.refusals() == []


def test_other_senders_deliveries_land_and_are_rebuilt(house: HouseOfRoles):
    house.environment["DATABASE_URL"] = house.house.settings.database_url or ""
    done = house.run("samples", "--url", house.url, "--json")
    assert done.returncode == 0, done.stdout
    receipts = [str(row.id) for row in house.rows("SELECT id FROM mlm_webhook_receipts WHERE sender <> 'mlm'")]
    house.run_as("receiver", "replay", *receipts, "--json")
    mlms = house.rows("SELECT id FROM mlm_webhook_receipts WHERE sender = 'mlm' AND outcome <> 'malformed' LIMIT 1")
    house.run_as("receiver", "replay", str(mlms[0].id), "--json")
    assert house.refusals() == []


def test_the_commands_of_engineers_work_as_the_console(house: HouseOfRoles):
    for command in (
        ("explain", "R000001"),
        ("receipts",),
        ("queues", "--json"),
        ("refresh", "R000001"),
        ("new-epoch", "R000001", "--yes"),
        ("queues", "redrive", "--json"),
    ):
        house.run_as("console", *command)
    house.environment["DATABASE_URL"] = house.as_role("console")
    assert not REFUSED.search((done := house.run("doctor", "--json")).stdout + done.stderr)
    assert not REFUSED.search((done := house.run("doctor", "--last-delivery")).stdout + done.stderr)


def test_a_command_under_a_role_that_may_not_is_one_line_and_names_the_page(house: HouseOfRoles):
    house.environment["DATABASE_URL"] = house.as_role("reader")
    done = house.run("queues")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"freshness: PostgreSQL: permission denied for table \w+; docs/security.md .*\n", done.stderr)


def test_every_page_of_the_console_shows(house: HouseOfRoles):
    with httpx.Client(base_url=house.url, timeout=30) as web:
        token = re.findall(r'name="token" value="([^"]+)"', web.get("/console/sign-in").text)[0]
        signed_in = web.post("/console/sign-in", data={"name": "admin", "password": "sesame", "token": token})
        assert signed_in.status_code == 303
        seen, ahead = set(), ["/console/", "/console/search?q=R000001", "/console/files?state=all"]
        while ahead:
            path = ahead.pop()
            page = web.get(path)
            assert page.status_code in (200, 303), (path, page.text)
            found = {re.sub(r"[?#].*", "", link) for link in re.findall(r'href="(/console/[^"]*)"', page.text)}
            ahead += sorted(found - seen)
            seen |= found
        assert "/console/files/R000001" in seen
        token = re.findall(r'name="token" value="([^"]+)"', web.get("/console/actions").text)[0]
        assert web.post("/console/refresh/R000001", data={"token": token}).status_code in (200, 303)
        query = "SELECT received_at, id FROM mlm_webhook_receipts WHERE sender = 'mmi' ORDER BY id LIMIT 1"
        place = place_of(house.rows(query)[0]._asdict())
        tried = web.post(f"/console/receipts/{place}/replay", data={"token": token, "dry": "1"})
        assert "Nothing was changed" in tried.text
        assert web.post(f"/console/receipts/{place}/replay", data={"token": token}).status_code == 303
        assert web.post("/console/sign-out", data={"token": token}).status_code == 303
    assert house.refusals() == []


def test_metrics_readiness_and_streams_are_served(house: HouseOfRoles):
    assert "freshness_receipts_total" in httpx.get(f"{house.url}/metrics").text
    assert httpx.get(f"{house.url}/readyz").status_code == 200
    assert house.refusals() == []


def test_a_worker_prunes_weeks_that_a_scheduler_makes(house: HouseOfRoles):
    house.rows("SELECT mlm_make_receipt_weeks('2020-01-06', 1)")
    house.rows(
        "INSERT INTO mlm_webhook_receipts (received_at, reference_number, outcome, reason, served_at) "
        "VALUES ('2020-01-07', 'R000001', 'held', 'held', now())"
    )
    pruned = json.loads(house.run_as("worker", "prune-webhook-receipts", "--older-than", "1h", "--json"))
    assert pruned["weeks_dropped"] == ["mlm_webhook_receipts_20200106"]
    with engine_on(house.as_role("scheduler")) as engine, engine.begin() as conn:
        made = weeks.make_ahead(conn, 9)
        assert made > 0
        assert weeks.reach(conn).ahead >= 8
    with engine_on(house.as_role("worker")) as engine, engine.begin() as conn:
        assert [weeks.unserved(conn, week) for week in weeks.made(conn)]


OLD, NEW = bytes(range(32)), bytes(range(32, 64))
NEEDED = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND attnotnull AND NOT atthasdef AND attidentity = ''
"""
CHECKS = "SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'c' AND conrelid = %s::regclass"
ANY = {"text": "x", "uuid": uuid.UUID(int=1), "date": dt.date(2026, 11, 2), "bigint": 1, "integer": 1, "smallint": 1,
       "bytea": b"", "timestamp with time zone": dt.datetime(2026, 11, 2, tzinfo=dt.UTC)}  # fmt: skip


def fill_every_sealed_column(url: str, keys: FieldKeys) -> None:
    """A row in each table that has one, whatever it would hang on, and whatever else is asked of it."""
    with psycopg.connect(url) as conn:
        conn.execute("SET session_replication_role = replica")
        for table in sealed_tables():
            for name, rule in conn.execute(CHECKS, [table.name]):
                conn.execute(f"ALTER TABLE {name} DROP CONSTRAINT {rule}")
            row: dict[str, Any] = {name: ANY[kind] for name, kind in conn.execute(NEEDED, [table.name])}
            row |= {f"{column}_encrypted": keys.seal("9") for column in table.columns}
            names = list(row)
            places = ", ".join(["%s"] * len(names))
            conn.execute(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})", list(row.values()))


def sealed_with(as_role: AsRole) -> dict[str, dict[str, int]]:
    """How many values each key has sealed in each table, as a worker sees it."""
    told = run_forked(as_role, "rotate-keys", "--dry-run", "--json")
    found: dict[str, dict[str, int]] = {}
    for each in map(json.loads, told.splitlines()):
        found.setdefault(each["table"], {})[each["key"]] = each["values"]
    return found


def run_forked(as_role: AsRole, *arguments: str) -> str:
    keys = ",".join(base64.urlsafe_b64encode(key).decode() for key in (NEW, OLD))
    done = forked.run(*arguments, env={"DATABASE_URL": as_role("worker"), "FIELD_KEYS": keys})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_worker_seals_every_table_anew(admin: psycopg.Connection):
    with database(admin, "rotated_as_worker") as url:
        as_role = give_roles(admin, url)
        fill_every_sealed_column(url, FieldKeys((OLD,)))
        old, new = FieldKeys((OLD,)).newest, FieldKeys((NEW,)).newest
        expected = {table.name: len(table.columns) for table in sealed_tables()}
        assert sealed_with(as_role) == {table: {old: number} for table, number in expected.items()}
        assert json.loads(run_forked(as_role, "rotate-keys", "--json"))["sealed"] == sum(expected.values())
        assert sealed_with(as_role) == {table: {new: number} for table, number in expected.items()}


def test_a_worker_that_stops_and_starts_leaves_and_comes(house: HouseOfRoles):
    worker = house.worker()
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    house.id_of(house.worker())
    house.touch("R000001", "assets")
    until(lambda: house.differences("R000001") == [], "the edit is here")
    assert house.refusals() == []


def test_a_python_portal_writes_and_says_so(house: HouseOfRoles):
    with engine_on(house.as_role("portal")) as engine, Session(engine) as session:
        loan = session.query(Loan).filter_by(mlm_reference_number="R000001").one()
        with own_write(session, loan):
            session.query(Borrower).filter_by(loan_id=loan.id).first().middle_name = "Portal"
        session.commit()
        with own_write(session, loan, capture=False):
            pass
        session.commit()
        capture_mark(session, loan)
        session.commit()
        seed_mark(session, FileRef("lead", "R000777"))
        session.commit()
    assert house.rows("SELECT FROM audit_log WHERE changed_by = 'mlm_portal' AND table_name = 'borrowers'")


def test_migrations_run_as_their_owner_from_nothing(admin: psycopg.Connection):
    """The roles first, then every step, then the roles again, as the file says."""
    with database(admin, "owned", template="template0") as url:
        as_role = give_roles(admin, url)
        upgrade(as_role("migrations"))
        give_roles(admin, url)
        with psycopg.connect(as_role("receiver")) as conn:
            assert conn.execute("SELECT count(*) FROM mlm_webhook_receipts").fetchone() == (0,)
        migrations = {"DATABASE_URL": as_role("migrations")}
        done = forked.run("migrate", "--to", "base", "--yes", env=migrations)
        assert done.returncode == 0, done.stderr


# What each role is refused.

NOT_FOR = {
    "receiver": (
        "SELECT ssn_encrypted FROM borrowers",
        "SELECT first_name FROM borrowers",
        "SELECT account_number_encrypted FROM assets",
        "SELECT loan_amount FROM loans",
        "UPDATE loans SET loan_amount = 1",
        "DELETE FROM loans",
        "DELETE FROM mlm_webhook_receipts",
        "DELETE FROM sender_bodies",
        "SELECT * FROM console_sessions",
        "DELETE FROM audit_log",
        "DELETE FROM tallies",
        "DELETE FROM maxwell_applications",
        "SELECT mlm_detach_receipt_week('2020-01-06')",
    ),
    "worker": (
        "SELECT * FROM console_sessions",
        "DELETE FROM audit_log",
        "INSERT INTO sender_bodies SELECT FROM sender_bodies",
        "UPDATE maxwell_applications SET email = ''",
        "SELECT email FROM maxwell_applications",
        "DELETE FROM file_freshness",
        "DELETE FROM tallies",
        "ALTER TABLE loans ADD COLUMN x int",
        "DROP TABLE fees",
    ),
    "scheduler": (
        "SELECT * FROM loans",
        "SELECT id FROM borrowers",
        "SELECT * FROM sender_bodies",
        "SELECT * FROM body_keys",
        "SELECT * FROM maxwell_applications",
        "DELETE FROM mlm_webhook_receipts",
        "SELECT mlm_drop_detached_receipt_weeks()",
    ),
    "console": (
        "SELECT id FROM borrowers",
        "SELECT * FROM assets",
        "SELECT loan_amount FROM loans",
        "UPDATE loans SET deleted_at = now()",
        "SELECT * FROM sender_bodies",
        "SELECT * FROM body_keys",
        "SELECT * FROM maxwell_applications",
        "DELETE FROM mlm_webhook_receipts",
        "DELETE FROM file_freshness",
        "DELETE FROM own_writes",
        "DELETE FROM console_actions",
        "UPDATE console_sessions SET name = 'somebody else'",
        "UPDATE console_attempts SET at = now()",
    ),
    "portal": (
        "UPDATE audit_log SET changed_by = 'nobody'",
        "DELETE FROM audit_log",
        "DELETE FROM mlm_webhook_receipts",
        "SELECT * FROM sender_bodies",
        "SELECT * FROM body_keys",
        "SELECT * FROM console_sessions",
        "UPDATE maxwell_applications SET email = ''",
    ),
    "reader": (
        "UPDATE loans SET loan_amount = 1",
        "DELETE FROM borrowers",
        "UPDATE audit_log SET changed_by = NULL",
        "SELECT * FROM file_freshness",
        "SELECT * FROM sender_bodies",
        "SELECT * FROM body_keys",
        "SELECT * FROM console_sessions",
    ),
}


@pytest.mark.parametrize(("role", "statement"), [(role, each) for role, all in NOT_FOR.items() for each in all])
def test_it_is_refused(migrated: tuple[str, AsRole], role: str, statement: str):
    _, as_role = migrated
    with psycopg.connect(as_role(role)) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(statement)


@pytest.mark.parametrize("role", PROCESSES)
def test_no_role_makes_owns_or_empties_anything(migrated: tuple[str, AsRole], role: str):
    _, as_role = migrated
    with psycopg.connect(as_role(role)) as conn:
        (owned,) = conn.execute("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole").fetchone()
        (more,) = conn.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
            "AND (has_table_privilege(oid, 'TRUNCATE') OR has_table_privilege(oid, 'REFERENCES') "
            "OR has_table_privilege(oid, 'TRIGGER'))"
        ).fetchone()
        assert (owned, more) == (0, 0)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("CREATE TABLE public.mine (id int)")


MAY_READ = {
    "borrowers.ssn_encrypted": {"mlm_worker", "mlm_portal", "mlm_reader"},
    "borrowers.birth_date_encrypted": {"mlm_worker", "mlm_portal", "mlm_reader"},
    "borrowers.first_name": {"mlm_worker", "mlm_portal", "mlm_reader"},
    "assets.account_number_encrypted": {"mlm_worker", "mlm_portal", "mlm_reader"},
    "maxwell_applications.sections_encrypted": {"mlm_receiver", "mlm_worker", "mlm_portal", "mlm_reader"},
    "sender_bodies.body_encrypted": {"mlm_receiver", "mlm_worker"},
    "body_keys.key_encrypted": {"mlm_receiver", "mlm_worker"},
    "console_sessions.digest": {"mlm_console"},
}


@pytest.mark.parametrize("column", MAY_READ)
def test_who_may_read_what_is_sensitive_is_as_the_security_page_says(migrated: tuple[str, AsRole], column: str):
    url, _ = migrated
    query = "SELECT r FROM unnest(%s::text[]) r WHERE has_column_privilege(r, %s, %s, 'SELECT')"
    with psycopg.connect(url) as conn:
        assert {row[0] for row in conn.execute(query, [list(ROLES), *column.split(".")])} == MAY_READ[column]


def test_no_table_is_forgotten_and_none_is_named_that_there_is_not():
    named = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"'([a-z_ ]+)'", ROLES_SQL))))
    assert set(Base.metadata.tables) - named == set()


#: Every grant, as `role  what  on what`: what a change of roles.sql comes to is read here.
GRANTS = Path(__file__).with_name("grants.txt")
GIVEN = """
WITH given AS (
    SELECT a.grantee, a.privilege_type AS what, c.relname::text AS name, NULL AS of
    FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner AND NOT c.relispartition
    UNION ALL
    SELECT a.grantee, a.privilege_type, c.relname::text, t.attname FROM pg_class c
    JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
    WHERE c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner AND NOT c.relispartition
    UNION ALL
    SELECT a.grantee, a.privilege_type, p.proname || '()', NULL FROM pg_proc p, aclexplode(p.proacl) a
    WHERE p.pronamespace = 'public'::regnamespace AND a.grantee <> p.proowner
    UNION ALL
    SELECT a.grantee, a.privilege_type, 'schema public', NULL FROM pg_namespace n, aclexplode(n.nspacl) a
    WHERE n.nspname = 'public' AND a.grantee <> n.nspowner
)
SELECT coalesce(r.rolname, 'PUBLIC') AS role, string_agg(DISTINCT what, ', ' ORDER BY what) AS what, shown
FROM (
    SELECT grantee, what, name || coalesce(' (' || string_agg(of, ', ' ORDER BY of) || ')', '') AS shown FROM given
    GROUP BY grantee, what, name, of IS NULL
) each LEFT JOIN pg_roles r ON r.oid = grantee GROUP BY role, shown ORDER BY role, shown COLLATE "C"
"""
WEEKS = """
SELECT DISTINCT c.relacl::text FROM pg_class c
WHERE c.relname = 'mlm_webhook_receipts' OR c.oid IN (
    SELECT inhrelid FROM pg_inherits WHERE inhparent = 'mlm_webhook_receipts'::regclass
)
"""


def test_every_grant_is_one_that_somebody_has_read(migrated: tuple[str, AsRole]):
    url, _ = migrated
    with psycopg.connect(url) as conn:
        given = [f"{role:<14}  {what:<30}  {shown}" for role, what, shown in conn.execute(GIVEN)]
        assert len(conn.execute(WEEKS).fetchall()) == 1, "each week of receipts as the whole"
    assert given == GRANTS.read_text(encoding="utf-8").splitlines()


def test_nobody_else_makes_anything_in_the_schema_even_where_an_old_server_let_them(admin: psycopg.Connection):
    """Before PostgreSQL 15 everybody could, and a database that was upgraded from there keeps it so."""
    with database(admin, "public") as url, psycopg.connect(url, autocommit=True) as conn:
        conn.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        as_role = give_roles(admin, url)
        with psycopg.connect(as_role("reader")) as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("CREATE TABLE public.mine (id int)")


def test_it_can_be_run_again_at_any_time_and_ends_with_the_same_grants(
    admin: psycopg.Connection, migrated: tuple[str, AsRole]
):
    url, _ = migrated
    grants = "SELECT relname, relacl::text, relowner FROM pg_class WHERE relacl IS NOT NULL ORDER BY relname"
    with psycopg.connect(url, autocommit=True) as conn:
        before = conn.execute(grants).fetchall()
        give_roles(admin, url)
        assert conn.execute(grants).fetchall() == before
