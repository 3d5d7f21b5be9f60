"""The whole product on one machine: servers, migrations, an MLM, and the processes, for as long as a block runs.

    with running(os.environ, out) as laptop:
        laptop.receiver_url, laptop.sandbox_url, laptop.environ

What the environment's settings name is used; what they leave out is brought along: PostgreSQL and Redis (`embedded`),
the sandbox for MLM, tokens, a key for SSNs and account numbers. Nothing brought along outlives the block, but for a
key that a database of the caller's own needs again (`kept_key`).
"""

from __future__ import annotations

import base64
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import httpx

from freshness.errors import SettingError
from freshness.ledger import workers
from freshness.settings import Settings, load
from hydrators.names import load_names
from jobs.house import House
from migrations.upgrade import upgrade
from mlm_client.sandbox.server import CLIENT_ID, CLIENT_SECRET, LOAN_PATH, TOKEN_PATH

from .embedded import Servers, embedded
from .errors import CannotListen
from .processes import Child, Supervisor, of_ours

MLM = ("MLM_LOAN_SERVICE_URL", "MLM_TOKEN_URL", "MLM_CLIENT_ID", "MLM_CLIENT_SECRET")
SANDBOX_PORT = 8900
SANDBOX_FILES = 25
SANDBOX_RATE = "200"  # calls a second: with the sandbox, MLM's budget is not what a newcomer should wait for
WORKERS = 2

_KNOWN_FILES = "SELECT ref FROM file_freshness WHERE deleted_at IS NULL"


@dataclass(frozen=True)
class Laptop:
    """What runs, and where. `made_up` are the settings that were not given; `environ` is what all processes get."""

    made_up: Mapping[str, str]
    environ: Mapping[str, str]
    settings: Settings
    servers: Servers
    house: House
    receiver_url: str
    sandbox_url: str | None

    def sandbox_files(self) -> list[str]:
        """The references of the sandbox's files."""
        heads = httpx.get(f"{self.sandbox_url}/api/files", trust_env=False, timeout=10).json()["files"]
        return [head["ref"] for head in heads if not head["deleted"]]


@contextmanager
def running(environ: Mapping[str, str], out: TextIO, *, any_port: bool = False) -> Iterator[Laptop]:
    """Run everything. `out` gets the processes' lines; `any_port`, or PORT=0, lets receiver and
    sandbox listen at whichever ports are free: of two houses that start at once, none wishes for the other's.

    Raises:
        SettingError: a setting is wrong, or one is missing that cannot be made up.
        ConsoleError: a server or a process did not start, or the port is taken.
    """
    given = load(environ)
    load_names(given.mlm_names)
    with_sandbox = not any(getattr(given, name.lower()) for name in MLM)
    if not with_sandbox:
        given.need(*MLM)
    made_up = _made_up(given, environ, with_sandbox)
    any_port = any_port or given.port == 0
    if any_port:
        given = replace(given, port=_free_port(given.host))
    _bind(given.host, given.port).close()
    with embedded(durable=False, database_url=given.database_url, redis_url=given.redis_url) as servers:
        upgrade(servers.database_url)
        sandbox_port = _free_port("127.0.0.1", 0 if any_port else SANDBOX_PORT)
        sandbox_url = f"http://127.0.0.1:{sandbox_port}" if with_sandbox else None
        if servers.postgresql:
            made_up["DATABASE_URL"] = servers.database_url
        if servers.valkey:
            made_up["REDIS_URL"] = servers.redis_url
        made_up["PORT"] = str(given.port)
        if sandbox_url:
            made_up |= {"MLM_LOAN_SERVICE_URL": sandbox_url + LOAN_PATH, "MLM_TOKEN_URL": sandbox_url + TOKEN_PATH}
        whole = {**environ, **made_up}
        settings = load(whole)
        house = House(settings, "up")
        house.redis.ping()
        receiver_url = f"http://{_reachable(settings.host)}:{settings.port}"
        laptop = Laptop(made_up, whole, settings, servers, house, receiver_url, sandbox_url)
        try:
            with Supervisor(_children(laptop), out=out):
                yield laptop
        finally:
            house.engine.dispose()


def kept_key(environ: Mapping[str, str]) -> Path:
    """Where the key for SSNs and account numbers is kept for a database that outlives the run: the user's cache.

    The copy can be read from MLM again, and so can what a lost key had sealed (`freshness import --all`).
    """
    cache = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".cache"
    return Path(cache) / "mlm-freshness" / "field_keys"


def key_at(path: Path) -> str:
    """The key that is kept there, made by the first who asks."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(_new_key())
        except FileExistsError:
            pass
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = f"is not set, and none can be kept in {path} ({type(error).__name__})"
        raise SettingError("FIELD_KEYS", why) from None


def _made_up(given: Settings, environ: Mapping[str, str], with_sandbox: bool) -> dict[str, str]:
    """Values for the settings that are not given."""
    made_up: dict[str, str] = {}
    if with_sandbox:
        made_up |= {"MLM_CLIENT_ID": CLIENT_ID, "MLM_CLIENT_SECRET": CLIENT_SECRET}
        if not environ.get("MLM_RATE"):
            made_up["MLM_RATE"] = SANDBOX_RATE
        if not given.mlm_webhook_token:
            made_up["MLM_WEBHOOK_TOKEN"] = secrets.token_urlsafe(16)
    if not given.portal_api_token:
        made_up["PORTAL_API_TOKEN"] = secrets.token_urlsafe(16)
    if not given.console_users and not given.console_password:
        made_up["CONSOLE_PASSWORD"] = secrets.token_urlsafe(9)
    if not given.field_keys:
        made_up["FIELD_KEYS"] = key_at(kept_key(environ)) if given.database_url else _new_key()
    return made_up


def _new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _children(laptop: Laptop) -> list[Child]:
    """The processes in the order of their start; each is `freshness …` of this very installation."""
    children = []
    if laptop.sandbox_url:
        _refuse_strangers(laptop)
        port = laptop.sandbox_url.rpartition(":")[2]
        webhook = f"{laptop.receiver_url}/api/v1/loans/mlm/webhook"
        argv = ["sandbox", "--json", "--port", port, "--files", str(SANDBOX_FILES), "--webhook-url", webhook]
        children.append(_child(laptop, "sandbox", argv, lambda: answers(f"{laptop.sandbox_url}/api/health")))
    ready = f"{laptop.receiver_url}/readyz"
    children.append(_child(laptop, "receiver", ["receiver", "--grace", "5"], lambda: answers(ready)))
    for number in range(1, WORKERS + 1):
        last = (lambda: _living(laptop) >= WORKERS) if number == WORKERS else None
        children.append(_child(laptop, f"worker {number}", ["worker", "--grace", "5"], last))
    children.append(_child(laptop, "scheduler", ["scheduler"], None))
    return children


def _child(laptop: Laptop, name: str, command: list[str], ready: Callable[[], bool] | None) -> Child:
    return of_ours(name, "console", *command, environ=laptop.environ, ready=ready)


def _refuse_strangers(laptop: Laptop) -> None:
    """Never hold real files against the sandbox, which has not got them: they would be purged."""
    sandbox = {f"R{number:06}" for number in range(1, SANDBOX_FILES + 1)}
    with laptop.house.engine.begin() as conn:
        strangers = set(conn.exec_driver_sql(_KNOWN_FILES).scalars()) - sandbox
    if strangers:
        raise SettingError(
            "DATABASE_URL",
            f"knows {len(strangers)} files that the sandbox has not got; name their MLM (MLM_LOAN_SERVICE_URL …), "
            "or another database for the sandbox",
        )


def answers(url: str) -> bool:
    """Whether a process does its work, asked at its own address for that: a receiver's `/readyz`, for one."""
    try:
        return httpx.get(url, trust_env=False, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _living(laptop: Laptop) -> int:
    with laptop.house.engine.begin() as conn:
        return workers.living(conn)


def _reachable(host: str) -> str:
    """The address at which we reach what listens on `host`."""
    if host in ("0.0.0.0", "", "::"):  # noqa: S104  (every address of this machine)
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _bind(host: str, port: int) -> socket.socket:
    """Take the port, as the process that will listen there does."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
    except OSError as error:
        raise CannotListen(host, port, error) from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise CannotListen(host, port, error) from None
    return bound


def _free_port(host: str, wish: int = 0) -> int:
    """A port that is free just now: `wish`, if it is."""
    try:
        bound = _bind(host, wish)
    except CannotListen:
        bound = _bind(host, 0)
    with bound:
        port: int = bound.getsockname()[1]
        return port
