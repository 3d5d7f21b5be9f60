"""The commands by which docs/deploy.md puts a house into Kubernetes, run in their order.

There is no cluster here. What kubectl would keep is kept by the test: a Secret is what its files hold, a Job's or a
pod's process is started with the command, the settings and the secrets that its manifest gives it; PostgreSQL, psql
and the processes are real.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from databases import emptied_redis
from forked import Forked, run
from promised import ROOT
from sqlalchemy import make_url

from console.cli import main
from console.embedded import PostgreSQL, embedded
from console.laptop import _free_port, answers

FOLDER = ROOT / "deploy/kubernetes"
TYPED = {"mlm_client_secret": "ours", "redis_url": ""}
(BLOCK,) = re.findall(
    r"<!-- run by tests/deploy/test_kubernetes_order.py -->\n```sh\n(.*?)```",
    (ROOT / "docs/deploy.md").read_text("utf-8"),
    re.DOTALL,
)


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    """Roles belong to a whole server, so not the one that all tests share."""
    with embedded(durable=False, redis_url=emptied_redis()) as servers:
        assert servers.postgresql is not None
        yield servers.postgresql


class Cluster:
    """What kubectl was told, so far as it matters to the order; `end` ends what runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._namespaces: set[str] = set()
        self._done: set[str] = set()
        self.secrets: dict[str, str] = {}
        self.running: dict[str, Forked] = {}
        self.port = _free_port("127.0.0.1")

    def told(self, *words: str) -> None:
        """`kubectl …`"""
        match words:
            case ("apply", "-k", overlay):
                self._apply(FOLDER / overlay.removeprefix("overlay").strip("/"))
            case ("-n", namespace, "create", "secret", "generic", _, *files):
                assert namespace in self._namespaces
                pairs = dict(each.removeprefix("--from-file=").split("=") for each in files)
                self.secrets = {key: (self._directory / file).read_text().strip() for key, file in pairs.items()}
            case ("-n", _, "wait", "--for=condition=complete", _, job):
                assert job in self._done
            case _:
                pytest.fail(f"kubectl {' '.join(words)}")

    def settings(self, manifest: dict[str, Any]) -> dict[str, str]:
        """What the process of a manifest is given, its secrets from where they are mounted."""
        spec = manifest["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        (mounted,) = [each["secret"]["items"] for each in spec["volumes"] if "secret" in each]
        there = {f"/run/secrets/freshness/{each['path']}": self.secrets[each["key"]] for each in mounted}
        given = {each["name"].removesuffix("_FILE"): each["value"] for each in container["env"]}
        own = {"PORT": str(self.port), "HOST": "127.0.0.1", "SPOOL_DIR": str(self._directory / "spool")}
        shared = yaml.safe_load((FOLDER / "settings.yaml").read_text("utf-8"))["data"] if "envFrom" in container else {}
        return {**os.environ, **shared, **{name: there.get(value, value) for name, value in given.items()}, **own}

    def end(self) -> None:
        for each in self.running.values():
            each.kill()

    def _apply(self, folder: Path) -> None:
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
        for name in kustomization["resources"]:
            for manifest in yaml.safe_load_all((folder / name).read_text("utf-8")):
                if manifest["kind"] == "Namespace":
                    self._namespaces.add(manifest["metadata"]["name"])
                    continue
                assert kustomization["namespace"] in self._namespaces
                if "template" in manifest.get("spec", {}):
                    self._start(manifest)

    def _start(self, manifest: dict[str, Any]) -> None:
        name, settings = manifest["metadata"]["name"], self.settings(manifest)
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        if manifest["kind"] == "Job":
            done = run(*container["args"], env=settings)
            assert done.returncode == 0, done.stderr
            self._done.add(f"job/{name}")
            return
        args = [each.replace("/tmp/", f"{self._directory}/{name}-") for each in container["args"]]
        self.running[name] = Forked(main, args, env=settings, err=self._directory / f"{name}.log")
        assert make_url(settings["DATABASE_URL"]).username == f"mlm_{name.partition('-')[0]}"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.end()


def test_in_their_order_they_make_a_house_in_which_each_process_works_in_its_role(
    postgresql: PostgreSQL, cluster: Cluster, tmp_path: Path
) -> None:
    psql = shutil.which("psql") or str(postgresql.program.path.with_name("psql"))
    if not Path(psql).exists():
        pytest.skip("needs psql on PATH (Debian: apt-get install postgresql-client)")
    (tmp_path / "mlm-freshness").symlink_to(ROOT)
    typed = {**TYPED, "redis_url": emptied_redis()}
    elsewhere = re.compile(r"'db\.example\.com:[^']*'")
    env = {"PATH": f"{Path(psql).parent}:{os.environ['PATH']}", "SUPERUSER": postgresql.url}

    for line in BLOCK.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "kubectl":
            cluster.told(*words[1:])
            continue
        here = elsewhere.sub(f"127.0.0.1:{postgresql.port}/postgres", line)
        answer = typed[words[-1].rpartition("/")[2]] if words[0] == "cat" else ""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", here],
            cwd=tmp_path,
            env=env,
            input=answer,
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, (line, done.stderr)

    expected = {"receiver", "worker-prompt", "worker-hydrate", "scheduler"}
    assert set(cluster.running) == expected
    while not answers(f"http://127.0.0.1:{cluster.port}/readyz") or not _beat(tmp_path, expected - {"receiver"}):
        assert all(each.poll() is None for each in cluster.running.values())
        time.sleep(0.05)
    assert not [name for name in expected if "Insufficient" in (tmp_path / f"{name}.log").read_text()]


def _beat(directory: Path, names: set[str]) -> bool:
    return all((directory / f"{name}-alive").exists() for name in names)
