"""deploy/kubernetes is valid, hardened, and names only what there is."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from promised import ROOT, complaint, lacking, wrong_settings

from freshness import metrics
from freshness.settings import load
from jobs.house import House
from receiver.app import make_app

FOLDER = ROOT / "deploy/kubernetes"
DEPLOY = (ROOT / "docs/deploy.md").read_text("utf-8")
FOLDERS = (FOLDER / "namespace", FOLDER / "migration", FOLDER)

#: `sleep` as a preStop action came with 1.30, ReadWriteOncePod with 1.29.
OLDEST, NEWEST = "1.30", "1.37"
COMPONENT = "app.kubernetes.io/component"

Manifest = dict[str, Any]


def _manifests() -> Iterator[Manifest]:
    for folder in FOLDERS:
        for name in yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["resources"]:
            yield from yaml.safe_load_all((folder / name).read_text("utf-8"))


ALL = list(_manifests())
PODS = [each for each in ALL if "template" in each.get("spec", {})]


def _id(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(kind: str) -> list[Manifest]:
    return [each for each in ALL if each["kind"] == kind]


def pod(manifest: Manifest) -> Manifest:
    return dict(manifest["spec"]["template"]["spec"])


def container(manifest: Manifest) -> Manifest:
    (only,) = pod(manifest)["containers"]
    return dict(only)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("manifest", [each for each in ALL if each["kind"] != "ScaledObject"], ids=_id)
def test_a_manifest_is_what_kubernetes_calls_valid(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("manifest", of_kind("ScaledObject"), ids=_id)
def test_a_scaling_is_what_keda_calls_valid(manifest: Manifest) -> None:
    jsonschema.validate(manifest["spec"], yaml.safe_load(Path(__file__).with_name("keda.yaml").read_text("utf-8")))


def test_every_file_of_a_folder_is_in_its_kustomization() -> None:
    for folder in FOLDERS:
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["resources"]
        assert sorted(listed) == sorted(each.name for each in folder.glob("*.yaml") if each.stem != "kustomization")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl on PATH")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_kustomize_builds_it_with_one_image_in_one_namespace(folder: Path) -> None:
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    built = list(yaml.safe_load_all(done.stdout))

    assert {each["metadata"].get("namespace", each["metadata"]["name"]) for each in built} == {"mlm-freshness"}
    images = {container(each)["image"] for each in built if "template" in each.get("spec", {})}
    assert all(re.fullmatch(r"mlm-freshness:\d+\.\d+\.\d+", each) for each in images)
    assert len(images) == any("template" in each.get("spec", {}) for each in built)


def test_the_namespace_takes_no_pod_that_is_not_confined() -> None:
    (namespace,) = of_kind("Namespace")
    named = {yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["namespace"] for folder in FOLDERS}

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert named == {namespace["metadata"]["name"]}


@pytest.mark.parametrize("manifest", PODS, ids=_id)
def test_a_process_is_given_a_command_and_settings_that_there_are(manifest: Manifest) -> None:
    (shared,) = of_kind("ConfigMap")
    own = [each["name"] for each in container(manifest)["env"]]
    given = own + ([*shared["data"]] if "envFrom" in container(manifest) else [])
    process, *_ = args = container(manifest)["args"]

    assert not complaint(args)
    assert not wrong_settings(given)
    assert not lacking(process, given)


def test_the_shared_settings_can_be_read() -> None:
    (shared,) = of_kind("ConfigMap")

    load(shared["data"])


@pytest.mark.parametrize("manifest", PODS, ids=_id)
def test_a_secret_is_a_file_and_each_process_has_its_own_alone(manifest: Manifest) -> None:
    (mount,) = [each for each in container(manifest)["volumeMounts"] if each["name"] == "secrets"]
    (volume,) = [each for each in pod(manifest)["volumes"] if each["name"] == "secrets"]
    there = {f"{mount['mountPath']}/{each['path']}" for each in volume["secret"]["items"]}
    read = {each["value"] for each in container(manifest)["env"] if each["name"].endswith("_FILE")}

    assert read == there
    assert mount["readOnly"] is True


@pytest.mark.parametrize("manifest", PODS, ids=_id)
def test_a_pod_is_nobody_may_write_nowhere_and_has_no_token(manifest: Manifest) -> None:
    own = container(manifest)["securityContext"]

    assert pod(manifest)["automountServiceAccountToken"] is False
    assert pod(manifest)["securityContext"]["runAsNonRoot"] is True
    assert f"USER {pod(manifest)['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text("utf-8")
    assert pod(manifest)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container(manifest)["resources"]["limits"]


def test_no_service_account_has_a_token_and_every_pod_has_an_account_of_its_own() -> None:
    accounts = {each["metadata"]["name"]: each for each in of_kind("ServiceAccount")}

    assert all(each["automountServiceAccountToken"] is False for each in accounts.values())
    assert {pod(each)["serviceAccountName"] for each in PODS} == set(accounts)


def test_there_are_a_receiver_two_pools_of_workers_one_scheduler_and_the_migration() -> None:
    pools = [each for each in PODS if container(each)["args"][0] == "worker"]
    prompt, hydrate = ({"--prompt-threads", "--threads"} - _zeroes(container(each)["args"]) for each in pools)
    (scheduler,) = [each for each in PODS if container(each)["args"][0] == "scheduler"]

    assert {frozenset(prompt), frozenset(hydrate)} == {frozenset({"--prompt-threads"}), frozenset({"--threads"})}
    assert scheduler["spec"]["replicas"] == 1
    assert {container(each)["args"][0] for each in PODS} == {"receiver", "worker", "scheduler", "migrate"}


def test_probes_ask_routes_that_the_receiver_has(environment: Mapping[str, str]) -> None:
    house = House(load(environment), "receiver")
    app = make_app(settings=house.settings, rules=house.rules, engine=house.engine, bell=house.bell)
    paths = {getattr(route, "path", "") for route in app.routes}
    (receiver,) = of_kind("StatefulSet")
    asked = {
        name: container(receiver)[name]["httpGet"]["path"] for name in container(receiver) if name.endswith("Probe")
    }

    assert set(asked.values()) <= paths
    assert asked["readinessProbe"] == "/readyz"
    assert asked["livenessProbe"] == "/healthz"


def test_a_process_without_a_port_is_probed_by_the_file_that_it_touches() -> None:
    for manifest in PODS:
        args = container(manifest)["args"]
        if "--alive" in args:
            assert (
                f"find {args[args.index('--alive') + 1]} " in container(manifest)["livenessProbe"]["exec"]["command"][2]
            )


def test_a_pod_is_let_end_in_its_own_time() -> None:
    """20 s to end in (`--grace`), after what a pod waits before it is told."""
    for manifest in PODS:
        waits = container(manifest).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pod(manifest)["terminationGracePeriodSeconds"] >= waits + 20 + 5


def test_budgets_services_and_policies_speak_of_pods_that_there_are() -> None:
    labels = {each["spec"]["template"]["metadata"]["labels"][COMPONENT] for each in PODS}
    budgets = {each["spec"]["selector"]["matchLabels"][COMPONENT] for each in of_kind("PodDisruptionBudget")}
    services = {each["spec"]["selector"][COMPONENT] for each in of_kind("Service")}
    selected = [each["spec"]["podSelector"] for each in of_kind("NetworkPolicy")]
    named = {label for each in selected for label in each.get("matchLabels", {}).values()}
    named |= {label for each in selected for one in each.get("matchExpressions", ()) for label in one["values"]}

    assert budgets == {"receiver", "worker-prompt", "worker-hydrate"}
    assert services == {"receiver"}
    assert named <= labels
    assert {} in selected, "a policy for every pod closes what no other opens"


def test_only_the_receiver_is_reached_and_only_workers_reach_mlm() -> None:
    reached = [each for each in of_kind("NetworkPolicy") if each["spec"].get("ingress")]
    outside = [
        each
        for each in of_kind("NetworkPolicy")
        if any(port.get("port") == 443 for rule in each["spec"].get("egress", ()) for port in rule["ports"])
    ]

    assert [each["spec"]["podSelector"] for each in reached] == [{"matchLabels": {COMPONENT: "receiver"}}]
    assert [each["spec"]["podSelector"]["matchExpressions"][0]["values"] for each in outside] == [
        ["worker-prompt", "worker-hydrate"]
    ]


def test_the_documents_overlay_changes_what_there_is_into_what_kubernetes_calls_valid() -> None:
    """Its patches, applied as kustomize does (RFC 6902)."""
    (overlay,) = [
        each
        for each in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", DEPLOY, re.DOTALL))
        if each.get("kind") == "Kustomization"
    ]

    for patch in overlay["patches"]:
        (target,) = [each for each in map(deepcopy, ALL) if patch["target"].items() <= _named(each).items()]
        for step in yaml.safe_load(patch["patch"]):
            _apply(step, target)
        kubernetes_validate.validate(target, NEWEST, strict=True)


def test_a_worker_is_given_no_more_threads_than_a_core_keeps_busy() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))["services"]["worker-hydrate"]["command"]
    (hydrate,) = [each for each in PODS if each["metadata"]["name"] == "worker-hydrate"]

    for args in (compose, container(hydrate)["args"]):
        assert args[args.index("--threads") + 1] == "4"


@pytest.mark.parametrize("manifest", of_kind("ScaledObject"), ids=_id)
def test_scaling_asks_for_a_metric_and_of_a_pool_that_there_is(manifest: Manifest) -> None:
    spec = manifest["spec"]
    (trigger,) = spec["triggers"]
    query = trigger["metadata"]["query"]
    (target,) = [each for each in PODS if each["metadata"]["name"] == spec["scaleTargetRef"]["name"]]

    assert "replicas" not in target["spec"], "KEDA says how many"
    assert set(re.findall(r"freshness_\w+", query)) == {metrics.WAIT_S.name, metrics.CIRCUIT.name}
    assert not re.search(r"\bsum\b", query), "every receiver answers for the whole house"
    assert 2 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
    assert trigger["type"] == "prometheus"
    assert set(trigger["metadata"]) == {"serverAddress", "query", "threshold", "ignoreNullValues"}


def _named(manifest: Manifest) -> dict[str, str]:
    return {"kind": manifest["kind"], "name": manifest["metadata"]["name"]}


def _apply(step: dict[str, Any], manifest: Any) -> None:
    *way, last = step["path"].strip("/").split("/")
    for name in way:
        manifest = manifest[name]
    if last == "-":
        manifest.append(step["value"])
        return
    assert step["op"] in ("add", "replace")
    assert (last in manifest) is (step["op"] == "replace"), step
    manifest[last] = step["value"]


def _zeroes(args: list[str]) -> set[str]:
    return {option for option, value in itertools.pairwise(args) if value == "0"}
