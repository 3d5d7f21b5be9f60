"""deploy/compose.yaml is valid, hardened, and names only what there is."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from promised import ROOT, complaint, lacking, wrong_settings
from sqlalchemy import make_url

from freshness.settings import load

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))
OURS = {name: each for name, each in COMPOSE["services"].items() if each["image"].startswith("mlm-freshness:")}
ROLES = {"migrate": "migrations", "receiver": "receiver", "worker": "worker", "scheduler": "scheduler"}
THEIRS = {name: each for name, each in COMPOSE["services"].items() if name not in OURS}
EXAMPLE = (ROOT / "deploy/freshness.env.example").read_text("utf-8")
SHARED = [line.partition("=")[0] for line in EXAMPLE.splitlines() if line and not line.startswith("#")]


def test_it_is_what_the_compose_specification_calls_valid() -> None:
    spec = pytest.importorskip("compose_viz.spec.compose_spec", reason="compose-viz has no wheel for this Python")

    spec.ComposeSpecification.model_validate({name: each for name, each in COMPOSE.items() if name[:2] != "x-"})


def test_every_process_of_the_house_is_there() -> None:
    assert [each["command"][0] for each in OURS.values()] == ["migrate", "receiver", "worker", "worker", "scheduler"]
    assert set(THEIRS) == {"postgresql", "redis", "roles", "grants"}


@pytest.mark.parametrize("name", OURS)
def test_a_process_is_given_a_command_and_settings_that_there_are(name: str) -> None:
    service = OURS[name]
    given = [*service["environment"], *SHARED]

    assert not complaint(service["command"])
    assert not wrong_settings(given)
    assert not lacking(service["command"][0], given)


@pytest.mark.parametrize("name", OURS)
def test_a_process_may_write_nowhere_and_become_nobody_else(name: str) -> None:
    service = OURS[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", OURS)
def test_a_process_that_crashes_leaves_no_dump_of_its_memory(name: str) -> None:
    assert OURS[name]["ulimits"] == {"core": 0}


def test_postgresql_quotes_no_row_in_its_log() -> None:
    settings = dict(each.split("=") for each in THEIRS["postgresql"]["command"] if "=" in each)

    assert settings["log_error_verbosity"] == "terse"


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_secret_is_a_file_that_its_process_alone_is_handed(name: str) -> None:
    service = COMPOSE["services"][name]
    words = [*service.get("environment", {}).values(), *service.get("command", [])]
    read = {name for word in words for name in re.findall(r"/run/secrets/(\w+)", word)}

    assert read == set(service.get("secrets", []))
    assert read <= set(COMPOSE["secrets"])


def test_nothing_is_reached_from_outside_this_machine() -> None:
    published = [port for each in COMPOSE["services"].values() for port in each.get("ports", [])]

    assert published == ["127.0.0.1:${PORT:-8000}:8000"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert all(each["networks"] == ["inside"] for each in THEIRS.values())


def test_the_spool_outlives_its_container() -> None:
    receiver = OURS["receiver"]
    (volume,) = receiver["volumes"]

    assert volume == f"spool:{receiver['environment']['SPOOL_DIR']}"
    assert "spool" in COMPOSE["volumes"]
    assert f"0700 {receiver['environment']['SPOOL_DIR']}" in (ROOT / "Dockerfile").read_text("utf-8")


@pytest.mark.parametrize("name", [name for name, each in OURS.items() if "--alive" in each["command"]])
def test_the_probe_of_a_process_without_a_port_tells_a_fresh_file_from_an_old_one(name: str, tmp_path: Path) -> None:
    command = OURS[name]["command"]
    file = command[command.index("--alive") + 1]
    kind, probe = OURS[name]["healthcheck"]["test"]
    alive = tmp_path / "alive"
    here = probe.replace("$$", "$").replace(file, str(alive))

    def holds() -> bool:
        return subprocess.run(["sh", "-c", here], capture_output=True, check=False).returncode == 0

    assert kind == "CMD-SHELL"
    assert file in probe
    assert not holds()
    alive.touch()
    assert holds()
    subprocess.run(["touch", "-d", "-2 minutes", alive], check=True)
    assert not holds()


@pytest.fixture
def made(tmp_path: Path) -> dict[str, str]:
    """The secrets as deploy/make-secrets makes them, by name."""
    directory = tmp_path / "secrets"
    subprocess.run([ROOT / "deploy/make-secrets", directory], check=True, capture_output=True)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    return {each.name: each.read_text("utf-8") for each in directory.iterdir()}


def test_the_secrets_that_are_made_are_those_that_are_read(made: dict[str, str]) -> None:
    assert {name for name in COMPOSE["secrets"] if name not in made} == {"mlm_client_secret"}
    assert {each["file"] for each in COMPOSE["secrets"].values()} == {f"secrets/{name}" for name in COMPOSE["secrets"]}


@pytest.mark.parametrize("name", OURS)
def test_what_a_process_is_handed_can_be_read_and_is_of_its_own_role(name: str, made: dict[str, str]) -> None:
    files = {key: value.rpartition("/")[2] for key, value in OURS[name]["environment"].items() if key.endswith("_FILE")}
    settings = load({key.removesuffix("_FILE"): made[file].strip() for key, file in files.items() if file in made})
    role = make_url(settings.database_url)

    assert role.username == f"mlm_{ROLES[OURS[name]['command'][0]]}"
    assert f"ALTER ROLE {role.username} PASSWORD '{role.password}';\n" in made["role_passwords"]
    assert role.username in (ROOT / "deploy/roles.sql").read_text("utf-8")
    assert len(settings.field_keys) == ("field_keys" in files.values())
    if settings.redis_url:
        assert f"requirepass {make_url(settings.redis_url).password}\n" in made["valkey_conf"]


def test_roles_are_there_before_the_migration_and_granted_what_they_need_after_it() -> None:
    after = {name: set(each.get("depends_on", ())) for name, each in COMPOSE["services"].items()}

    assert after["migrate"] == {"roles"}
    assert after["grants"] == {"migrate"}
    assert all("grants" in after[name] for name in OURS if name != "migrate")
    assert THEIRS["grants"]["command"] == THEIRS["roles"]["command"]


def test_a_database_elsewhere_is_named_to_each_role(tmp_path: Path) -> None:
    subprocess.run([ROOT / "deploy/make-secrets", tmp_path, "db.example:6432/f?sslmode=require"], check=True)
    urls = [make_url(each.read_text().strip()) for each in tmp_path.glob("database_url_*")]

    assert {(each.host, each.port, each.database, each.query["sslmode"]) for each in urls} == {
        ("db.example", 6432, "f", "require")
    }
    assert {each.username for each in urls} == {f"mlm_{name}" for name in (*ROLES.values(), "console")}


def test_secrets_that_are_there_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "field_keys").write_text("mine")

    subprocess.run([ROOT / "deploy/make-secrets", tmp_path], check=True, capture_output=True)

    assert (tmp_path / "field_keys").read_text() == "mine"
