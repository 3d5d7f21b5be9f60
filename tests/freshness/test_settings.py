"""Settings: read once, each wrong or missing one told in one line that names it, and no secret ever shown."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from freshness.concerns import Concern
from freshness.errors import SettingError
from freshness.passwords import hashed
from freshness.rules import rules_of
from freshness.settings import SETTINGS, Settings, Timeouts, WebhookKeys, check, load

KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()

WRONG = {
    "DATABASE_URL": "mysql://u:hidden-word@db/x",
    "REDIS_URL": "hidden-word",
    "MLM_LOAN_SERVICE_URL": "ftp://mlm/Loan.asmx",
    "MLM_TOKEN_URL": "mlm.example/token",
    "MLM_WEBHOOK_NETWORKS": "10.0.0.0/33",
    "TRUSTED_PROXIES": "proxy",
    "MLM_STAMP_ZONE": "Middle/Earth",
    "MLM_STAMP_RESOLUTION": "0",
    "MLM_QUIET": "-1",
    "MLM_READ_LAG": "ten minutes",
    "MLM_MAX_CONCURRENCY": "0",
    "MLM_RATE": "nan",
    "MLM_TIMEOUT": "5,30",
    "FIELD_KEYS": "hidden-word",
    "MLM_WEBHOOK_KEYS": "event",
    "CONSOLE_USERS": "ann:operator:hidden-word",
    "MLM_IMPORT_UNKNOWN": "perhaps",
    "PORT": "65536",
}


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_setting_is_one_line_that_names_it(name: str) -> None:
    with pytest.raises(SettingError) as caught:
        load({name: WRONG[name]})
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    assert caught.value.name == name
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS if setting.name in WRONG and setting.secret])
def test_a_wrong_secret_is_not_shown(name: str) -> None:
    with pytest.raises(SettingError) as caught:
        load({name: WRONG[name]})
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS if setting.default in (None, "")])
def test_what_is_missing_where_it_is_needed_is_one_line_that_names_it(name: str) -> None:
    if name in ("MLM_WEBHOOK_KEYS",):
        return
    with pytest.raises(SettingError, match=f"^{name}: is not set") as caught:
        load({}).need(name)
    assert "\n" not in str(caught.value)


def test_what_is_there_is_enough() -> None:
    load({"DATABASE_URL": "postgresql://db/x", "FIELD_KEYS": KEY}).need("DATABASE_URL", "FIELD_KEYS")


def test_without_any_the_defaults_are_the_contracts() -> None:
    settings = load({})
    assert settings.mlm_stamp_zone == ZoneInfo("America/Los_Angeles")
    assert settings.mlm_stamp_resolution is None
    assert (settings.mlm_quiet, settings.mlm_read_lag) == (30, 600)
    assert (settings.mlm_max_concurrency, settings.mlm_rate) == (8, 20)
    assert settings.mlm_timeout == Timeouts(5, 30, 60)
    assert settings.mlm_webhook_token == settings.portal_api_token == settings.field_keys == ()
    assert settings.mlm_webhook_keys == WebhookKeys()
    assert (settings.host, settings.port, settings.mlm_import_unknown) == ("127.0.0.1", 8000, False)


def test_values_are_read_as_what_they_are() -> None:
    settings = load(
        {
            "MLM_WEBHOOK_TOKEN": "new, old",
            "MLM_WEBHOOK_NETWORKS": "10.0.0.0/8, ::1",
            "MLM_STAMP_RESOLUTION": "0.004",
            "MLM_TIMEOUT": "1, 2.5, 3",
            "MLM_WEBHOOK_KEYS": "event=type,number=no",
            "MLM_IMPORT_UNKNOWN": "1",
            "FIELD_KEYS": f"{KEY},{KEY[:-2]}E=",
            "PORT": "0",
        }
    )
    assert settings.mlm_webhook_token == ("new", "old")
    assert [str(network) for network in settings.mlm_webhook_networks] == ["10.0.0.0/8", "::1/128"]
    assert settings.mlm_timeout == Timeouts(1, 2.5, 3)
    assert settings.mlm_webhook_keys == WebhookKeys(event="type", number="no")
    assert settings.field_keys[0] == bytes(range(32))
    assert settings.port == 0


def test_an_empty_value_counts_as_unset() -> None:
    assert load({"DATABASE_URL": "", "PORT": ""}).port == 8000


def test_every_secret_can_come_from_a_file_and_no_other_setting_does(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for setting in SETTINGS:
        values = {"FIELD_KEYS": KEY, "DATABASE_URL": "postgresql://db/x", "REDIS_URL": "redis://r", "PORT": "1"}
        values["CONSOLE_DATABASE_URL"] = "postgresql://db/x"
        values["CONSOLE_USERS"] = f"ann:reader:{hashed('word')}"
        secret.write_text(f"{values.get(setting.name, 'name:word')}\n")
        from_file = getattr(load({f"{setting.name}_FILE": str(secret)}), setting.name.lower())
        assert (from_file != getattr(load({}), setting.name.lower())) == setting.secret, setting.name


def test_a_value_of_its_own_wins_over_its_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("old")
    assert load({"MLM_WEBHOOK_TOKEN": "new", "MLM_WEBHOOK_TOKEN_FILE": str(tmp_path / "t")}).mlm_webhook_token == (
        "new",
    )


def test_a_file_that_cannot_be_read_is_named_by_its_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^MLM_CLIENT_SECRET_FILE: cannot be read"):
        load({"MLM_CLIENT_SECRET_FILE": str(tmp_path / "none")})


def test_no_secret_is_in_the_settings_repr() -> None:
    word, user = "hidden:word", hashed("word")
    environ = {
        setting.name: {
            "DATABASE_URL": f"postgresql://u:{word}@db/x", "REDIS_URL": f"redis://:{word}@r", "FIELD_KEYS": KEY,
            "CONSOLE_USERS": f"ann:operator:{user}", "CONSOLE_DATABASE_URL": f"postgresql://u:{word}@db/x",
        }.get(setting.name, word)
        for setting in SETTINGS
        if setting.secret
    }  # fmt: skip
    shown = repr(load(environ))
    assert word not in shown
    assert KEY not in shown
    assert user not in shown
    assert repr(bytes(range(32))) not in shown


def test_each_is_looked_at_by_itself_where_several_are_wrong() -> None:
    told = {each.setting.name: each for each in check(WRONG)}
    assert {name for name, each in told.items() if each.fault} == set(WRONG)
    assert all(each.fault.startswith(f"{name}: ") for name, each in told.items() if each.fault)
    assert "hidden-word" not in repr([(each.shown, each.fault) for each in told.values()])


def test_where_a_value_comes_from_is_told_and_a_secret_is_not(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("hidden-word")
    environ = {"MLM_CLIENT_SECRET": "hidden-word", "MLM_CLIENT_ID": "portal", "MLM_APP_CODE_FILE": str(tmp_path / "t")}
    told = {each.setting.name: each for each in check(environ)}
    names = ("MLM_CLIENT_ID", "MLM_CLIENT_SECRET", "MLM_APP_CODE", "PORT", "SPOOL_DIR")
    assert [(told[name].source, told[name].shown) for name in names] == [
        ("set", "portal"),
        ("set", None),
        ("set by a file", None),
        ("default", "8000"),
        ("unset", None),
    ]
    assert not any(each.fault for each in told.values())


def test_a_file_that_cannot_be_read_is_a_fault_of_its_setting(tmp_path: Path) -> None:
    told = {each.setting.name: each for each in check({"MLM_CLIENT_SECRET_FILE": str(tmp_path / "none")})}
    assert told["MLM_CLIENT_SECRET"].fault == "MLM_CLIENT_SECRET_FILE: cannot be read (FileNotFoundError)"


def test_the_table_and_the_dataclass_name_the_same_settings_and_each_has_a_line_of_help() -> None:
    assert [setting.name.lower() for setting in SETTINGS] == [f.name for f in dataclasses.fields(Settings)]
    assert all(setting.help and "\n" not in setting.help for setting in SETTINGS)


def test_the_rules_are_what_the_settings_say() -> None:
    settings = load({"MLM_QUIET": "7", "MLM_READ_LAG": "8", "MLM_TIMEOUT": "1,2,3", "MLM_STAMP_RESOLUTION": "0.5"})
    rules = rules_of(settings, (Concern.LOAN_FIELDS,))
    assert (rules.quiet_s, rules.read_lag_s, rules.call_timeout_s, rules.resolution_s) == (7, 8, 3, 0.5)
    assert rules.active == (Concern.LOAN_FIELDS,)
    assert rules.lease_s > 2 * rules.call_timeout_s
