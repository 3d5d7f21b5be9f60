"""The settings: each as it stands in this environment. Secrets are said to be set, never shown."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from freshness.settings import Checked, check

from .finding import Finding, fail, ok, warn

#: Without these nothing can be kept fresh.
NEEDED = (
    "DATABASE_URL", "REDIS_URL", "MLM_LOAN_SERVICE_URL", "MLM_TOKEN_URL", "MLM_CLIENT_ID", "MLM_CLIENT_SECRET",
    "FIELD_KEYS",
)  # fmt: skip

_OUR_OWN = ("localhost", "127.0.0.1", "::1")


def findings(environ: Mapping[str, str]) -> list[Finding]:
    """One for each setting."""
    return [_finding(each) for each in check(environ)]


def readable(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the settings that cannot be understood, so that the rest can be looked at."""
    bad = {each.setting.name for each in check(environ) if each.fault}
    return {name: value for name, value in environ.items() if name.removesuffix("_FILE") not in bad}


def _finding(each: Checked) -> Finding:
    name = each.setting.name
    if each.fault:
        return fail(name, each.fault.removeprefix(f"{name}: "), "mend it: no process starts like this")
    if each.source == "unset":
        if name in NEEDED:
            return fail(name, "unset", f"set it: {each.setting.help}")
        if name == "MLM_WEBHOOK_TOKEN":
            return warn(name, "unset: the webhook answers 404", "set it, and give MLM the same bearer")
        return ok(name, "unset")
    if each.source == "default":
        return ok(name, f"{each.shown or 'set'} (default)")
    if each.shown is None:
        return ok(name, each.source)
    shown = _without_user(each.shown)
    if urlsplit(shown).scheme == "http" and urlsplit(shown).hostname not in _OUR_OWN:
        return warn(name, shown, "use https: sign-ins and borrowers' data cross the network")
    return ok(name, shown)


def _without_user(text: str) -> str:
    """An address without the user and password that may stand in it, and without its query."""
    if "://" not in text:
        return text
    parts = urlsplit(text)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
