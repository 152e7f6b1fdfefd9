"""The target `kubernetes`: real kubectl, shipped kustomizations, real services; the cluster is a stand-in."""

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from millrace.bundle import SELFTEST, load_bundle
from millrace.errors import UserError
from targets.files import load_target_file
from targets.kubernetes import COLOUR, Kubernetes, Settings
from targets.rollout import Watch, roll_out
from targets.smoke import Smoke
from targets.target import Release
from tests.conftest import ROOT
from tests.targets.cluster import Asked, Cluster, Containers

KUBECTL = ROOT / ".venv" / "tools" / "bin" / "kubectl"
OVERLAY = ROOT / "deploy" / "kubernetes" / "overlays" / "production"
PATIENCE = 60.0


def image(name: str) -> str:
    """The name of an image that the stand-in has: what runs in it, and a digest."""
    return f"registry.example/iris@sha256:{name.encode().hex():0<64}"


def release(version: str, name: str = "good", problem: str = "iris") -> Release:
    return Release(
        problem=problem, version=version, digest=version * 64, bento=f"iris:{version}", image=image(name)
    )


@pytest.fixture(autouse=True)
def _kubectl(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The kubectl of the project, with a cache of its own."""
    monkeypatch.setenv("PATH", f"{KUBECTL.parent}:/usr/bin:/bin")
    monkeypatch.setenv("KUBECACHEDIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def runtime(iris_folder: Path) -> Iterator[Containers]:
    containers = Containers(iris_folder)
    yield containers
    containers.close()


@pytest.fixture
def cluster(tmp_path: Path, runtime: Containers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster with the Services of deploy/kubernetes/overlays/production."""
    images = {image("good"): "good", image("better"): "good"}
    images |= {image(what): what for what in ("failing", "broken")}
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    cluster = Cluster(tmp_path, KUBECTL, runtime, images)
    (tmp_path / "config").write_text(yaml.safe_dump(_kubeconfig(cluster.url)))
    try:
        for resource in rendered(OVERLAY):
            if resource["kind"] == "Service" and resource["metadata"]["name"].startswith("millrace-service"):
                cluster.put("services", resource)
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def target(cluster: Cluster) -> Kubernetes:
    assert not cluster.find("pods")
    return make_target()


def make_target(problem: str = "iris", **settings: Any) -> Kubernetes:
    told = {
        "kind": "kubernetes",
        "context": "stand-in",
        "namespace": "millrace",
        "url": "https://millrace.example",
        "release": str(OVERLAY / "release"),
        "replicas": 1,
        "ready_seconds": 60,
        "end_seconds": 30,
        **settings,
    }
    made = Settings.model_validate(told).make(problem)
    assert isinstance(made, Kubernetes)
    return made


def rendered(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def _kubeconfig(url: str) -> dict[str, Any]:
    # The current context is a place that nobody is at: only the one that is named is asked.
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "elsewhere",
        "clusters": [
            {"name": "stand-in", "cluster": {"server": url}},
            {"name": "elsewhere", "cluster": {"server": "http://127.0.0.1:9"}},
        ],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": "nobody"}}
            for name in ("stand-in", "elsewhere")
        ],
        "users": [{"name": "nobody", "user": {}}],
    }


def ask(url: str, folder: Path) -> httpx.Response:
    """Predictions of the bundle's own test rows."""
    rows = json.loads((folder / SELFTEST).read_text())["rows"]
    return httpx.post(f"{url}/v1/predict", json={"rows": rows}, timeout=PATIENCE)


def running(cluster: Cluster, colour: str) -> int:
    return len(cluster.find("pods", **{COLOUR: colour}))


@contextmanager
def load(url: str, folder: Path) -> Iterator[Counter[int | str]]:
    """Requests one after another, each by a connection of its own; counts their statuses."""
    rows = json.loads((folder / SELFTEST).read_text())["rows"]
    seen: Counter[int | str] = Counter()
    stop = threading.Event()

    def work() -> None:
        with httpx.Client(timeout=PATIENCE, headers={"Connection": "close"}) as client:
            while not stop.is_set():
                try:
                    seen[client.post(f"{url}/v1/predict", json={"rows": rows}).status_code] += 1
                except httpx.HTTPError as error:
                    seen[repr(error)] += 1

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        yield seen
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def test_first_release_has_no_traffic_before_it_is_switched_to(
    cluster: Cluster, target: Kubernetes, iris_folder: Path
) -> None:
    assert target.serving() is None
    url = target.start(release("1"))
    assert ask(url, iris_folder).status_code == 200
    assert url.startswith("http://127.0.0.1:")
    assert target.serving() is None
    with pytest.raises(httpx.HTTPError):
        ask(cluster.service_url, iris_folder)
    target.switch()
    assert target.serving() == release("1")
    assert ask(cluster.service_url, iris_folder).status_code == 200
    # Not the candidate's own, nor probes'.
    assert target.traffic() == (1, 0)
    target.retire()
    assert ask(cluster.service_url, iris_folder).status_code == 200
    assert httpx.get(f"{cluster.service_url}/readyz").status_code == 200
    # Whoever looks sees the same; its URL went with the one who had it.
    assert make_target().serving() == release("1")
    with pytest.raises(httpx.ConnectError):
        ask(url, iris_folder)


def test_next_release_takes_over_under_load_without_a_failed_request(
    cluster: Cluster, target: Kubernetes, iris_folder: Path
) -> None:
    target.start(release("1"))
    target.switch()
    first = cluster.ready_pods("millrace-service")
    # Autoscaling has been at work.
    deployment = cluster.find("deployments")[0]
    cluster.put("deployments", {**deployment, "spec": {**deployment["spec"], "replicas": 2}})
    with load(cluster.service_url, iris_folder) as seen:
        target.start(release("2", "better"))
        target.switch()
        assert target.serving() == release("2", "better")
        before = seen.total()
        wait_for(lambda: seen.total() >= before + 50)
        told = target.traffic()
        target.retire()
        after = seen.total()
        wait_for(lambda: seen.total() >= after + 50)
        last = target.traffic()
    assert set(seen) == {200}
    assert told.requests >= 50
    assert last.requests >= told.requests + 50
    assert (told.failed, last.failed) == (0, 0)
    # As many as the one before had, and none of it left.
    second = cluster.ready_pods("millrace-service")
    assert len(second) == 2
    assert not set(first) & set(second)
    assert {pod["metadata"]["name"] for pod in cluster.find("pods")} == set(second)


def test_release_that_fails_is_seen_and_the_one_before_is_back(
    cluster: Cluster, target: Kubernetes, iris_folder: Path
) -> None:
    target.start(release("1"))
    target.switch()
    target.start(release("2", "failing"))
    target.switch()
    assert [ask(cluster.service_url, iris_folder).status_code for _ in range(3)] == [500, 500, 500]
    assert httpx.post(f"{cluster.service_url}/v1/predict", json={"rows": []}).status_code == 422
    assert target.traffic() == (4, 3)
    target.switch_back()
    assert target.serving() == release("1")
    assert ask(cluster.service_url, iris_folder).status_code == 200
    target.discard()
    assert target.serving() == release("1")
    assert len(cluster.find("pods")) == 1
    [role] = [one for one in rendered(OVERLAY) if one["kind"] == "Role"]
    assert {one for one in cluster.asked if not allows(role, one)} == set()


def allows(role: dict[str, Any], asked: Asked) -> bool:
    """Whether a role lets somebody do what the API server was asked."""
    return any(
        asked.verb in rule["verbs"]
        and asked.group in rule["apiGroups"]
        and asked.resource in rule["resources"]
        and asked.name in rule.get("resourceNames", [asked.name])
        for rule in role["rules"]
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", r"CrashLoopBackOff .*error: this bundle is damaged"),
        ("unknown", r"ImagePullBackOff no such image: registry.example/iris@sha256:"),
    ],
)
def test_candidate_that_does_not_become_ready_is_told_with_its_reason(
    cluster: Cluster, iris_folder: Path, name: str, said: str
) -> None:
    hasty = make_target(ready_seconds=5)
    hasty.start(release("1"))
    hasty.switch()
    with pytest.raises(
        UserError, match=f"(?s)The candidate does not become ready. millrace-service-green-00002: {said}"
    ):
        hasty.start(release("2", name))
    assert hasty.serving() == release("1")
    hasty.discard()
    assert ask(cluster.service_url, iris_folder).status_code == 200
    assert len(cluster.find("pods")) == 1


def test_caller_that_died_leaves_nothing_that_another_does_not_end(
    cluster: Cluster, iris_folder: Path
) -> None:
    make_target().start(release("1", "failing"))
    # It has died before it switched: what it started is ended, and has never served.
    again = make_target()
    assert again.serving() is None
    again.start(release("2"))
    again.switch()
    [pod] = cluster.find("pods")
    # It has died before it retired the one before: that has no traffic any more.
    third = make_target()
    third.start(release("3", "better"))
    third.switch()
    last = make_target()
    assert last.serving() == release("3", "better")
    last.start(release("4"))
    assert pod not in cluster.find("pods")
    assert last.serving() == release("3", "better")
    last.switch()
    last.retire()
    assert (running(cluster, "blue"), running(cluster, "green")) == (1, 0)
    assert ask(cluster.service_url, iris_folder).status_code == 200


def test_pods_are_those_of_the_kustomization_with_image_and_release(
    cluster: Cluster, target: Kubernetes
) -> None:
    target.start(release("1"))
    [deployment] = cluster.find("deployments")
    [written] = [one for one in rendered(OVERLAY / "release") if one["metadata"]["name"].endswith("-blue")]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image("good")
    told = deployment["metadata"]["annotations"]
    assert deployment["spec"]["template"]["metadata"]["annotations"] == told
    assert Release.model_validate_json(told["millrace.dev/release"]) == release("1")
    container["image"] = "millrace-service"
    written["spec"]["replicas"] = 1
    written["spec"]["template"]["metadata"]["annotations"] = told
    assert deployment["spec"] == written["spec"]


def test_applying_the_overlay_again_leaves_traffic_where_it_is(target: Kubernetes, tmp_path: Path) -> None:
    [service] = [one for one in rendered(OVERLAY) if one["metadata"]["name"] == "millrace-service"
                 and one["kind"] == "Service"]  # fmt: skip
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(service))
    command = [
        *(KUBECTL, "--context=stand-in", "apply"),
        f"--filename={tmp_path / 'service.yaml'}",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    target.start(release("1"))
    target.switch()
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    assert target.serving() == release("1")


def test_first_release_that_is_taken_back_leaves_nobody(cluster: Cluster, target: Kubernetes) -> None:
    target.start(release("1"))
    target.switch()
    target.switch_back()
    target.discard()
    assert target.serving() is None
    assert not cluster.find("pods")
    assert not cluster.ready_pods("millrace-service")


def test_switch_that_fails_is_taken_back_to_the_one_before(
    cluster: Cluster, target: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.start(release("1"))
    target.switch()
    target.start(release("2", "better"))
    with monkeypatch.context() as away:
        away.setenv("KUBECONFIG", "/nowhere")
        with pytest.raises(UserError, match=r"context was not found|does not exist"):
            target.switch()
    target.switch_back()
    target.discard()
    assert target.serving() == release("1")
    assert len(cluster.ready_pods("millrace-service")) == 1


def test_rollout_as_the_pipeline_has_it(cluster: Cluster, iris_folder: Path) -> None:
    bundle = load_bundle(iris_folder)
    smoke, watch = Smoke(bundle), Watch(seconds=2, max_failed=0.01)
    target = make_target(url=cluster.service_url)
    first = roll_out(target, release("1"), smoke, watch, print)
    assert (first.result, first.failed, first.failed_probes) == ("deployed", 0, 0)
    # The watch's own requests come by the Service, as everybody's.
    assert first.requests == first.probes >= 2
    refused = roll_out(target, release("2", "failing"), smoke, watch, print)
    assert refused.result == "refused"
    assert target.serving() == release("1")
    assert len(cluster.find("pods")) == 1


def test_what_cannot_be_is_refused_in_a_sentence(
    cluster: Cluster, target: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"by digest, NAME@sha256:..., not 'iris:latest'"):
        target.start(release("1").model_copy(update={"image": "iris:latest"}))
    target.start(release("1"))
    target.switch()
    for call in (make_target("houses").serving, lambda: make_target("houses").start(release("1"))):
        with pytest.raises(
            UserError, match="serves 'iris'; give 'houses' a target with a namespace of its own"
        ):
            call()
    with pytest.raises(UserError, match=r'context "nowhere" does not exist'):
        make_target(context="nowhere").serving()
    with pytest.raises(UserError, match="refused - did you specify the right host or port"):
        make_target(context="elsewhere").serving()
    with pytest.raises(UserError, match=r"kubectl get: .*not found"):
        make_target(service="another").serving()
    [deployment] = cluster.find("deployments")
    del deployment["metadata"]["annotations"]
    cluster.put("deployments", deployment)
    with pytest.raises(UserError, match="millrace-service-blue was not started by a deployment"):
        target.serving()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="needs kubectl, which is not on the PATH"):
        make_target()


def test_shipped_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONTEXT", "URL", "REGISTRY"):
        monkeypatch.setenv(f"MILLRACE_KUBERNETES_{name}", name.lower())
    settings = load_target_file("kubernetes", ROOT / "configs" / "targets")
    assert isinstance(settings, Settings)
    assert (settings.context, settings.url, settings.registry) == ("context", "url", "registry")
    assert settings.make("iris").runs_images
    assert [one["metadata"]["name"] for one in rendered(ROOT / settings.release)] == [
        "millrace-service-blue",
        "millrace-service-green",
    ]


def wait_for(happens: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)
