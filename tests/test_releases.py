"""A release is one version, wherever it is named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def test_the_changelog_begins_with_this_version_or_what_is_not_released_yet() -> None:
    first = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[0]

    assert re.fullmatch(rf"(?:Unreleased|{re.escape(VERSION)} \((?:unreleased|\d{{4}}-\d\d-\d\d)\))", first)


def test_the_manifests_run_this_version() -> None:
    for folder in ("", "migration"):
        kustomization = yaml.safe_load((ROOT / "deploy/kubernetes" / folder / "kustomization.yaml").read_text("utf-8"))
        assert [each["newTag"] for each in kustomization["images"]] == [VERSION]
