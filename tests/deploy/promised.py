"""What files in deploy/ promise of the product: commands, settings, routes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import forked

from freshness.settings import SETTINGS

ROOT = Path(__file__).parents[2]
KNOWN = {setting.name: setting for setting in SETTINGS}

#: What each process cannot be without (`settings.need` in its command, and for workers `House.mlm_config`).
NEEDED = {
    "migrate": {"DATABASE_URL"},
    "receiver": {"DATABASE_URL", "REDIS_URL"},
    "worker": {
        "DATABASE_URL",
        "REDIS_URL",
        "FIELD_KEYS",
        "MLM_LOAN_SERVICE_URL",
        "MLM_TOKEN_URL",
        "MLM_CLIENT_ID",
        "MLM_CLIENT_SECRET",
    },
    "scheduler": {"DATABASE_URL", "REDIS_URL"},
}


def wrong_settings(names: Iterable[str]) -> list[str]:
    """Names that no setting has, or that name a file for what is no secret."""
    return [name for name in names if not _is_good(name)]


def lacking(process: str, names: Iterable[str]) -> set[str]:
    """Settings that a process needs and is not given."""
    return NEEDED[process] - {name.removesuffix("_FILE") for name in names}


def complaint(args: Sequence[str]) -> str:
    """What `freshness <args>` says of its own use; nothing if it has such a command and such options."""
    done = forked.run(*args, "--help", env={"PATH": os.environ["PATH"]})
    return done.stderr if done.returncode else ""


def _is_good(name: str) -> bool:
    if name in KNOWN:
        return not KNOWN[name].secret
    bare = name.removesuffix("_FILE")
    return bare in KNOWN and KNOWN[bare].secret
