"""Every setting of the product, declared once as data.

The table `SETTINGS` makes the frozen `Settings`, the help of the command line and the README's table. A value
that is missing where it is needed, or cannot be understood, is a `SettingError` that names the setting.
Every secret can come from a file: the same name with `_FILE`.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from . import passwords
from .errors import SettingError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Timeouts:
    """Seconds that one call to MLM may take."""

    connect_s: float
    read_s: float
    whole_s: float


@dataclass(frozen=True)
class WebhookKeys:
    """Key names in a webhook entry. Ours (contract.md, "The webhook's body"): the vendor's are not public."""

    event: str = "eventType"
    number: str = "loanNumber"
    reference: str = "referenceNumber"
    values: str = "values"


@dataclass(frozen=True)
class ConsoleUser:
    """A person of the web console: a reader looks, an operator acts too. `hash` is a `passwords` hash."""

    name: str
    role: Literal["reader", "operator"]
    hash: str = field(repr=False)

    @property
    def is_operator(self) -> bool:
        """Whether they may change anything."""
        return self.role == "operator"


def _text(value: str) -> str:
    return value


def _begins(value: str, *schemes: str) -> None:
    if value.split("://", 1)[0] not in schemes or "://" not in value:
        raise ValueError(f"must be a URL that begins with {' or '.join(s + '://' for s in schemes)}")


def _database_url(value: str) -> str:
    _begins(value, "postgresql", "postgres")
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(value)
    except (ArgumentError, ValueError):
        raise ValueError("must be a URL such as postgresql://user@host:5432/database") from None
    return value


_BEHIND_SENTINELS = re.compile(
    r"rediss?\+sentinel://([^@/?#]*@)?[^@/,:]+(:\d+)?(,[^@/,:]+(:\d+)?)*/[^/\s?#]+(/\d+)?(\?[^\s#]*)?"
)

#: What a `rediss+sentinel://` URL may say of TLS after `?`: the form of each, and what it may be, in words.
TLS_BEHIND_SENTINELS = {
    "ssl_ca_certs": (re.compile(r".+"), "a file"),
    "ssl_ca_path": (re.compile(r".+"), "a directory"),
    "ssl_certfile": (re.compile(r".+"), "a file"),
    "ssl_keyfile": (re.compile(r".+"), "a file"),
    "ssl_cert_reqs": (re.compile(r"none|optional|required"), "none, optional or required"),
    "ssl_check_hostname": (re.compile(r"true|false"), "true or false"),
}


def _redis_url(value: str) -> str:
    _begins(value, "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
    if "+sentinel://" in value:
        if not _BEHIND_SENTINELS.fullmatch(value):
            raise ValueError("must be a URL such as redis+sentinel://:password@host:26379,host:26379/service/0")
        _tls_behind_sentinels(value)
        return value
    try:
        parts = urlsplit(value)
        database = parts.path.strip("/") if parts.scheme != "unix" else ""
        if parts.port == 0 or not (database or "0").isdecimal():  # the client would take it for database 0
            raise ValueError
    except ValueError:
        raise ValueError("must be a URL such as redis://host:6379/0") from None
    return value


def _tls_behind_sentinels(url: str) -> None:
    for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name not in TLS_BEHIND_SENTINELS:
            raise ValueError(f"may end with ?{'=…&'.join(TLS_BEHIND_SENTINELS)}=… and nothing else; it has {name!r}")
        form, words = TLS_BEHIND_SENTINELS[name]
        if not form.fullmatch(value):
            raise ValueError(f"has {name}, which must be {words}")
        if not url.startswith("rediss+"):
            raise ValueError(f"has {name}, which is TLS's: it must begin with rediss+sentinel:// then")


def _web_url(value: str) -> str:
    _begins(value, "http", "https")
    try:
        parts = urlsplit(value)
        if parts.hostname and (parts.port is None or parts.port):
            return value
    except ValueError:
        pass
    raise ValueError("must be a URL such as https://host/path")


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise ValueError("must be a number") from None
        if not low <= number <= high:
            raise ValueError(f"must be between {low:g} and {high:g}")
        return number

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError("must be a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"must be between {low} and {high}")
        return number

    return parse


def _list(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _networks(value: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part) for part in _list(value))


def _zone(value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be the name of a time zone, such as America/Los_Angeles") from None


def _resolution(value: str) -> float | None:
    return None if value == "auto" else _number(1e-6, 60)(value)


def _timeouts(value: str) -> Timeouts:
    parts = _list(value)
    if len(parts) != 3:
        raise ValueError("must be three numbers of seconds: connect,read,whole call")
    return Timeouts(*(_number(0.001, 3600)(part) for part in parts))


def _flag(value: str) -> bool:
    if value.lower() not in ("0", "1", "true", "false", "yes", "no"):
        raise ValueError("must be 1 or 0")
    return value.lower() in ("1", "true", "yes")


def _field_keys(value: str) -> tuple[bytes, ...]:
    keys = []
    for part in _list(value):
        try:
            key = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise ValueError("each key must be URL-safe base64") from None
        if len(key) != 32:
            raise ValueError(f"each key must be 32 bytes, one has {len(key)}")
        keys.append(key)
    if len(set(keys)) != len(keys):
        raise ValueError("the same key stands there twice")
    return tuple(keys)


def _key_ids(value: str) -> tuple[str, ...]:
    ids = tuple(part.lower() for part in _list(value))
    if not all(re.fullmatch(r"[0-9a-f]{8}", each) for each in ids):
        raise ValueError("must be ids of keys, 8 hexadecimal digits each, by comma")
    return ids


def _webhook_keys(value: str) -> WebhookKeys:
    pairs = {}
    for part in _list(value):
        name, equals, key = part.partition("=")
        if not equals or name not in ("event", "number", "reference", "values") or not key:
            raise ValueError("must be pairs such as event=type,number=loan, of event, number, reference, values")
        pairs[name] = key
    return WebhookKeys(**pairs)


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value.lower()

    return parse


def _pairs(value: str) -> tuple[str, ...]:
    pairs = _list(value)
    if not all(name and secret for name, _, secret in (pair.partition(":") for pair in pairs)):
        raise ValueError("must be name:secret, several by comma")
    return pairs


def _header(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", value):
        raise ValueError("must be the name of a header, such as X-Signature")
    return value


def _console_users(value: str) -> tuple[ConsoleUser, ...]:
    users = []
    for number, entry in enumerate(_list(value.replace("\n", ",")), 1):
        name, role, kept = (*entry.split(":", 2), "", "")[:3]
        if not name or not name.isprintable() or len(name) > 60 or role not in ("reader", "operator"):
            raise ValueError(f"entry {number} must be name:role:hash, with the role reader or operator")
        try:
            passwords.read(kept)
        except ValueError as error:
            raise ValueError(f"entry {number} has {error}") from None
        users.append(ConsoleUser(name, cast(Literal["reader", "operator"], role), kept))
    if len({user.name for user in users}) != len(users):
        raise ValueError("the same name stands there twice")
    return tuple(users)


def _path(value: str) -> Path:
    return Path(value)


@dataclass(frozen=True)
class Setting:
    """One setting: its name in the environment, its default as text, how to read it, and its line of help."""

    name: str
    default: str | None
    parse: Callable[[str], Any]
    help: str
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "DATABASE_URL",
        None,
        _database_url,
        "PostgreSQL 15 or newer; embedded under `freshness up`, else required",
        secret=True,
    ),
    Setting(
        "DATABASE_PREPARES",
        "1",
        _flag,
        "0: no statement is kept prepared, as PgBouncer before 1.21 wants it in transaction mode",
    ),
    Setting(
        "REDIS_URL",
        None,
        _redis_url,
        "Redis 6.2 or newer, or Valkey; behind Sentinels `redis+sentinel://host:26379,host:26379/service/0`; "
        "embedded under `freshness up`, else required",
        secret=True,
    ),
    Setting(
        "MLM_LOAN_SERVICE_URL",
        None,
        _web_url,
        "…/los/webservice/Loan.asmx; the sandbox under `freshness up`",
    ),
    Setting("MLM_TOKEN_URL", None, _web_url, "where OAuth2 client credentials become a token"),
    Setting("MLM_CLIENT_ID", None, _text, "OAuth2 client id"),
    Setting("MLM_CLIENT_SECRET", None, _text, "OAuth2 client secret", secret=True),
    Setting(
        "MLM_APP_CODE", None, _text, "app code for the poll list of modified loans; unset: no polling", secret=True
    ),
    Setting(
        "MLM_POLL_EVERY", "60", _number(0, 86_400), "seconds from one poll of that list to the next; 0: no polling"
    ),
    Setting(
        "MLM_WEBHOOK_TOKEN",
        "",
        _list,
        "bearer that MLM sends; several, by comma, while one is rotated; unset: the webhook answers 404",
        secret=True,
    ),
    Setting("MLM_WEBHOOK_NETWORKS", "", _networks, "CIDRs MLM may call from, by comma; unset: any"),
    Setting("TRUSTED_PROXIES", "", _networks, "CIDRs whose X-Forwarded-For is believed; unset: none"),
    Setting("MLM_STAMP_ZONE", "America/Los_Angeles", _zone, "zone of a stamp that names none"),
    Setting(
        "MLM_STAMP_RESOLUTION",
        "auto",
        _resolution,
        "seconds within which two saves may share a stamp; auto: 1 until fractions were seen "
        "in webhook and read alike, then 0.004",
    ),
    Setting("MLM_QUIET", "30", _number(0, 86_400), "seconds of quiet before an unconfirmed file is confirmed"),
    Setting(
        "MLM_READ_LAG",
        "600",
        _number(0, 86_400),
        "seconds that MLM's answers may be behind: a later read serves, and a doubt lasts so long",
    ),
    Setting(
        "MLM_CONFIRM_SHARE",
        "0.05",
        _number(0, 1),
        "share of MLM_RATE for confirming the files longest not confirmed: heals webhooks that never came; 0: off",
    ),
    Setting(
        "MLM_CONFIRM_EVERY",
        "3600",
        _number(0, 31_536_000),
        "seconds until the same file is confirmed so again, at least",
    ),
    Setting(
        "MLM_AUDIT_SHARE",
        "0.01",
        _number(0, 1),
        "share of MLM_RATE for reading whole files again and comparing them with our copy; 0: off",
    ),
    Setting(
        "MLM_AUDIT_EVERY", "604800", _number(0, 31_536_000), "seconds until the same file is audited again, at least"
    ),
    Setting("SPOOL_DIR", None, _path, "where batches wait while PostgreSQL is away; unset: 503"),
    Setting("MLM_MAX_CONCURRENCY", "8", _whole(1, 1000), "calls to MLM under way at once, over all workers together"),
    Setting("MLM_RATE", "20", _number(0.01, 100_000), "calls to MLM a second, over all workers together"),
    Setting("MLM_TIMEOUT", "5,30,60", _timeouts, "seconds for connect, read, whole call"),
    Setting("PORTAL_API_TOKEN", "", _list, "bearer of portal code; unset: portal routes answer 404", secret=True),
    Setting(
        "CONSOLE_USERS",
        "",
        _console_users,
        "people of the web console: name:role:hash, by comma or one a line, with the role reader or operator "
        "(`freshness console-user NAME` makes an entry); unset: the console answers 404",
        secret=True,
    ),
    Setting(
        "CONSOLE_PASSWORD", None, _text, "short for one operator `admin` of the console with this password", secret=True
    ),
    Setting(
        "CONSOLE_DATABASE_URL",
        None,
        _database_url,
        "PostgreSQL as the web console signs in to it, under a role of its own; unset: as DATABASE_URL",
        secret=True,
    ),
    Setting(
        "METRICS_TOKEN",
        "",
        _list,
        "bearer of /metrics; several, by comma, while one is rotated; unset: loopback only",
        secret=True,
    ),
    Setting(
        "FIELD_KEYS",
        "",
        _field_keys,
        "keys that encrypt what is sensitive (docs/security.md): 32 bytes each in URL-safe base64, newest first, by "
        "comma; required outside `freshness up`",
        secret=True,
    ),
    Setting(
        "FIELD_KEYS_LOST",
        "",
        _key_ids,
        "ids of keys that are lost for good, by comma: processes start though values are sealed with them "
        "(docs/security.md)",
    ),
    Setting(
        "MLM_WEBHOOK_KEYS",
        "",
        _webhook_keys,
        "other key names in the webhook's entries: event=…,number=…,reference=…,values=…",
    ),
    Setting(
        "MLM_NAMES",
        None,
        _path,
        "TOML file that renames fields, collections and the reference parameter, or switches a concern off",
    ),
    Setting(
        "MLM_IMPORT_UNKNOWN",
        "0",
        _flag,
        "1: an entry for a file we do not have imports it; else it is skipped as unknown_file",
    ),
    Setting(
        "MLM_SHARED_READS",
        "1",
        _flag,
        "1: one call to MLM reads all that is stale of a file; 0: one call for each concern",
    ),
    Setting(
        "MMI_SECRET",
        "",
        _list,
        "shared secret that MMI signs bodies with; several, by comma; unset: its route answers 404",
        secret=True,
    ),
    Setting("MMI_SIGNATURE_HEADER", "X-MMI-Signature", _header, "header that bears MMI's signature"),
    Setting("MMI_SIGNATURE_ALGORITHM", "sha256", _one_of("sha256", "sha384", "sha512", "sha1"), "MMI's HMAC"),
    Setting("MMI_SIGNATURE_ENCODING", "hex", _one_of("hex", "base64"), "how MMI writes its signature"),
    Setting("MMI_ZONE", "UTC", _zone, "zone of MMI's timestamps, which name none"),
    Setting(
        "MAXWELL_HMAC_SECRET",
        "",
        _list,
        "secret that Maxwell signs bodies with (HMAC-SHA-256); of Maxwell's ways any that is set will do; none: 404",
        secret=True,
    ),
    Setting("MAXWELL_SIGNATURE_HEADER", "X-Maxwell-Signature", _header, "header that bears Maxwell's signature"),
    Setting("MAXWELL_SIGNATURE_ENCODING", "hex", _one_of("hex", "base64"), "how Maxwell writes its signature"),
    Setting("MAXWELL_BASIC", "", _pairs, "user:password of Maxwell's (HTTP Basic); several, by comma", secret=True),
    Setting("MAXWELL_API_KEY", "", _list, "API key of Maxwell's; several, by comma", secret=True),
    Setting("MAXWELL_API_KEY_HEADER", "X-API-Key", _header, "header that bears Maxwell's API key"),
    Setting("MAXWELL_TOKEN", "", _list, "bearer that Maxwell sends; several, by comma", secret=True),
    Setting("MAXWELL_OAUTH_CLIENT_ID", None, _text, "client that Maxwell fetches tokens as from our token route"),
    Setting("MAXWELL_OAUTH_CLIENT_SECRET", None, _text, "that client's secret", secret=True),
    Setting("MAXWELL_OAUTH_LIFETIME", "3600", _whole(60, 86_400), "seconds until such a token ends"),
    Setting("MAXWELL_AWS_KEYS", "", _pairs, "id:secret that Maxwell signs with (AWS signature v4)", secret=True),
    Setting("MAXWELL_AWS_REGION", "us-east-1", _text, "region in Maxwell's AWS signature"),
    Setting("MAXWELL_AWS_SERVICE", "execute-api", _text, "service in Maxwell's AWS signature"),
    Setting("MAXWELL_AWS_WINDOW", "300", _number(1, 86_400), "seconds that Maxwell's clock and ours may differ"),
    Setting(
        "COLLATERALXP_URL_SECRET",
        "",
        _list,
        "secret in the URL that CollateralXP calls (`?secret=…`); with the bearer set too, both are needed; none: 404",
        secret=True,
    ),
    Setting("COLLATERALXP_TOKEN", "", _list, "bearer that CollateralXP sends; several, by comma", secret=True),
    Setting(
        "SHOWMOJO_TOKEN",
        "",
        _list,
        "bearer that ShowMojo sends to HTTPS addresses; several, by comma; unset: its route answers 404",
        secret=True,
    ),
    Setting(
        "REFUSALS_A_MINUTE",
        "120",
        _whole(0, 1_000_000),
        "requests that one address may have refused in a minute before it is answered 429; 0: any number",
    ),
    Setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        None,
        _web_url,
        "where traces go, by OTLP over HTTP (needs `mlm-freshness[otel]`); unset: none",
    ),
    Setting("HOST", "127.0.0.1", _text, "where the receiver listens"),
    Setting("PORT", "8000", _whole(0, 65_535), "where the receiver listens"),
)


@dataclass(frozen=True)
class Settings:
    """What the environment said, read once. Attribute names are the settings' own in lower case."""

    database_url: str | None = field(repr=False)
    database_prepares: bool
    redis_url: str | None = field(repr=False)
    mlm_loan_service_url: str | None
    mlm_token_url: str | None
    mlm_client_id: str | None
    mlm_client_secret: str | None = field(repr=False)
    mlm_app_code: str | None = field(repr=False)
    mlm_poll_every: float
    mlm_webhook_token: tuple[str, ...] = field(repr=False)
    mlm_webhook_networks: tuple[Network, ...]
    trusted_proxies: tuple[Network, ...]
    mlm_stamp_zone: ZoneInfo
    mlm_stamp_resolution: float | None
    mlm_quiet: float
    mlm_read_lag: float
    mlm_confirm_share: float
    mlm_confirm_every: float
    mlm_audit_share: float
    mlm_audit_every: float
    spool_dir: Path | None
    mlm_max_concurrency: int
    mlm_rate: float
    mlm_timeout: Timeouts
    portal_api_token: tuple[str, ...] = field(repr=False)
    console_users: tuple[ConsoleUser, ...] = field(repr=False)
    console_password: str | None = field(repr=False)
    console_database_url: str | None = field(repr=False)
    metrics_token: tuple[str, ...] = field(repr=False)
    field_keys: tuple[bytes, ...] = field(repr=False)
    field_keys_lost: tuple[str, ...]
    mlm_webhook_keys: WebhookKeys
    mlm_names: Path | None
    mlm_import_unknown: bool
    mlm_shared_reads: bool
    mmi_secret: tuple[str, ...] = field(repr=False)
    mmi_signature_header: str
    mmi_signature_algorithm: str
    mmi_signature_encoding: str
    mmi_zone: ZoneInfo
    maxwell_hmac_secret: tuple[str, ...] = field(repr=False)
    maxwell_signature_header: str
    maxwell_signature_encoding: str
    maxwell_basic: tuple[str, ...] = field(repr=False)
    maxwell_api_key: tuple[str, ...] = field(repr=False)
    maxwell_api_key_header: str
    maxwell_token: tuple[str, ...] = field(repr=False)
    maxwell_oauth_client_id: str | None
    maxwell_oauth_client_secret: str | None = field(repr=False)
    maxwell_oauth_lifetime: int
    maxwell_aws_keys: tuple[str, ...] = field(repr=False)
    maxwell_aws_region: str
    maxwell_aws_service: str
    maxwell_aws_window: float
    collateralxp_url_secret: tuple[str, ...] = field(repr=False)
    collateralxp_token: tuple[str, ...] = field(repr=False)
    showmojo_token: tuple[str, ...] = field(repr=False)
    refusals_a_minute: int
    otel_exporter_otlp_endpoint: str | None
    host: str
    port: int

    def need(self, *names: str) -> None:
        """Refuse to go on without these settings: `settings.need("DATABASE_URL", "FIELD_KEYS")`."""
        for name in names:
            if not getattr(self, name.lower()):
                raise SettingError(name, "is not set, and is needed here")


Source = Literal["set", "set by a file", "default", "unset"]


@dataclass(frozen=True, slots=True)
class Checked:
    """One setting as an environment has it: where its value comes from, its text unless it is a secret, and what is
    wrong with it, in a line that names it."""

    setting: Setting
    source: Source
    shown: str | None
    fault: str | None


def check(environ: Mapping[str, str]) -> list[Checked]:
    """Every setting, each looked at by itself, where `load` stops at the first that cannot be understood."""
    return [_checked(setting, environ) for setting in SETTINGS]


def load(environ: Mapping[str, str]) -> Settings:
    """Read all settings from an environment. An empty value counts as unset.

    Raises:
        SettingError: the first setting that cannot be understood, by name, without its value if it is a secret.
    """
    return Settings(**{setting.name.lower(): _value(setting, environ) for setting in SETTINGS})


def _checked(setting: Setting, environ: Mapping[str, str]) -> Checked:
    fault = None
    try:
        _value(setting, environ)
    except SettingError as error:
        fault = str(error)
    source: Source = "default" if setting.default else "unset"
    if environ.get(setting.name):
        source = "set"
    elif setting.secret and environ.get(f"{setting.name}_FILE"):
        source = "set by a file"
    text = environ.get(setting.name) or setting.default
    return Checked(setting, source, None if setting.secret else text or None, fault)


def _value(setting: Setting, environ: Mapping[str, str]) -> Any:
    text = environ.get(setting.name) or _from_file(setting, environ) or setting.default
    if text is None:
        return None
    try:
        return setting.parse(text)
    except ValueError as error:
        shown = "" if setting.secret else f" (it is {text!r})"
        raise SettingError(setting.name, f"{error}{shown}") from None


def _from_file(setting: Setting, environ: Mapping[str, str]) -> str | None:
    path = environ.get(f"{setting.name}_FILE")
    if not setting.secret or not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{setting.name}_FILE", f"cannot be read ({type(error).__name__})") from None


def as_markdown() -> str:
    """The settings as the README's table. A test holds the README to it."""
    rows = [f"| `{s.name}` | {s.help} | {_default(s)} |" for s in SETTINGS]
    return "\n".join(["| name | meaning | default |", "| --- | --- | --- |", *rows])


def _default(setting: Setting) -> str:
    return f"`{setting.default}`" if setting.default else ""
