"""What deploy/compose.yaml runs in order, run in that order on a PostgreSQL of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from databases import emptied_redis
from forked import Forked, run
from promised import ROOT
from sqlalchemy import make_url

from console.cli import main
from console.embedded import PostgreSQL, embedded
from console.laptop import _free_port, answers

SERVICES = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))["services"]
MLM = {
    "MLM_LOAN_SERVICE_URL": "http://127.0.0.1:9/los/webservice/Loan.asmx",
    "MLM_TOKEN_URL": "http://127.0.0.1:9/oauth/token",
    "MLM_CLIENT_ID": "us",
    "MLM_CLIENT_SECRET": "ours",
}


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    """Roles belong to a whole server, so not the one that all tests share."""
    with embedded(durable=False, redis_url=emptied_redis()) as servers:
        assert servers.postgresql is not None
        yield servers.postgresql


def test_in_their_order_they_make_a_database_under_which_each_process_works_in_its_role(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    psql = shutil.which("psql") or str(postgresql.program.path.with_name("psql"))
    if not Path(psql).exists():
        pytest.skip("needs psql on PATH (Debian: apt-get install postgresql-client)")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "postgres_password").write_text(postgresql.password)
    subprocess.run([ROOT / "deploy/make-secrets", secrets], check=True, capture_output=True)
    port = _free_port("127.0.0.1")
    at = f"127.0.0.1:{postgresql.port}/postgres"

    def settings(name: str) -> dict[str, str]:
        read = {
            key.removesuffix("_FILE"): file.rpartition("/")[2] for key, file in SERVICES[name]["environment"].items()
        }
        known = {key: (secrets / file).read_text().strip() for key, file in read.items() if (secrets / file).exists()}
        here = {key: value.replace("postgresql:5432/freshness", at) for key, value in known.items()}
        own = {"REDIS_URL": emptied_redis(), "PORT": str(port), "HOST": "127.0.0.1"}
        return {**os.environ, **MLM, **here, **own}

    def set_up(name: str) -> None:
        command = SERVICES[name]["command"][2].replace("$$", "$").replace("/run/secrets", str(secrets))
        command = command.replace("/roles.sql", str(ROOT / "deploy/roles.sql")).replace("exec psql", f"exec {psql}")
        here = f"--host=127.0.0.1 --port={postgresql.port} --username=postgres --dbname=postgres"
        command = command.replace("--host=postgresql --username=freshness --dbname=freshness", here)
        subprocess.run(["sh", "-c", command], check=True, capture_output=True)

    set_up("roles")
    migrated = run("migrate", env=settings("migrate"))
    assert migrated.returncode == 0, migrated.stderr
    set_up("grants")
    started = {}
    try:
        for name in ("receiver", "worker-hydrate", "worker-prompt", "scheduler"):
            args = [each.replace("/tmp/", f"{tmp_path}/{name}-") for each in SERVICES[name]["command"]]
            started[name] = Forked(main, args, env=settings(name), err=tmp_path / name)
            assert make_url(settings(name)["DATABASE_URL"]).username == f"mlm_{name.partition('-')[0]}"
        while not answers(f"http://127.0.0.1:{port}/readyz") or not _beat(tmp_path, set(started) - {"receiver"}):
            assert all(each.poll() is None for each in started.values())
            time.sleep(0.05)
    finally:
        for each in started.values():
            each.kill()
    refused = [
        line for name in started for line in (tmp_path / name).read_text().splitlines() if "Insufficient" in line
    ]
    assert not refused


def _beat(directory: Path, names: set[str]) -> bool:
    return all((directory / f"{name}-alive").exists() for name in names)
