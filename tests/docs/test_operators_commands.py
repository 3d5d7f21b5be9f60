"""What the documents tell an operator to type of `docker compose`, `kubectl` and `curl` names what there is.

They cannot be run here, where there is neither an engine nor a cluster; what they name is compared with the files and
the routes that there are.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from blocks import ROOT, blocks, inline_commands

from freshness.settings import load
from jobs.house import House
from receiver.app import make_app

COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))
#: Words of compose after which services are named.
OF_SERVICES = {"up", "run", "exec", "logs", "restart", "stop", "start", "pull", "ps", "build"}
#: Kinds as they are typed, and as manifests have them.
KINDS = {"job": "Job", "secret": "Secret", "deployment": "Deployment", "statefulset": "StatefulSet", "pod": "Pod"}


def typed(program: str) -> Iterator[str]:
    """Every line of the documents, in blocks and in the text, that begins with this program."""
    for block in blocks("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            bare = re.sub(r"^(\w+=\S+ )+", "", line)
            if bare.startswith(f"{program} "):
                yield bare
    yield from (re.sub(r" *…", "", command) for _, command in inline_commands(rf"(?:\w+=\S+ )?{program}"))


@pytest.mark.parametrize("command", sorted(set(typed("docker compose"))))
def test_compose_is_told_of_a_file_and_services_that_there_are(command: str) -> None:
    words = shlex.split(command[command.index("docker compose") :], comments=True)[2:]
    if "-f" in words:
        assert (ROOT / words[words.index("-f") + 1]).exists()
    verbs = [place for place, word in enumerate(words) if word in OF_SERVICES]
    if verbs:
        named = [word for word in words[verbs[0] + 1 :] if not word.startswith("-")]
        services = named[:1] if words[verbs[0]] in ("run", "exec") else named
        assert set(services) <= set(COMPOSE["services"])


@pytest.mark.parametrize("command", sorted(set(typed("kubectl"))))
def test_kubectl_is_told_of_folders_and_things_that_there_are(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    manifests = dict(_manifests())
    if "-n" in words:
        assert ("Namespace", words[words.index("-n") + 1]) in manifests
    if "-k" in words:
        folder = words[words.index("-k") + 1].replace("overlay", "deploy/kubernetes", 1)
        assert (ROOT / folder / "kustomization.yaml").exists()
    for place, word in enumerate(words):
        kind, _, name = word.partition("/")
        if kind in KINDS and (name or words[place + 1] != "generic"):
            assert (KINDS[kind], name or words[place + 1]) in manifests


def test_curl_asks_for_routes_that_there_are(environment: Mapping[str, str]) -> None:
    house = House(load(environment), "receiver")
    app = make_app(settings=house.settings, rules=house.rules, engine=house.engine, bell=house.bell)
    house.engine.dispose()
    paths = {getattr(route, "path", "") for route in app.routes}
    asked = {path for each in typed("curl") for path in re.findall(r"http://RECEIVER(/[^\s'\"]*)", each)}

    assert asked
    assert asked <= paths


def _manifests() -> Iterator[tuple[tuple[str, str], Any]]:
    for file in (ROOT / "deploy/kubernetes").rglob("*.yaml"):
        for each in yaml.safe_load_all(file.read_text("utf-8")):
            if "metadata" in each:
                yield (each["kind"], each["metadata"]["name"]), each
