"""deploy/kubernetes as kustomize renders it: each part fits the others, and nobody may more than he needs."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import Field

from bentos.routes import PATHS
from bentos.settings import from_environment
from deploy.kubernetes.__main__ import FILE, RULES, rules
from millrace.strict import Strict
from scheduler.__main__ import command_line
from scheduler.settings import read_schedules
from targets.kubernetes import CONTAINER, PORT, ROUTES
from tests.conftest import ROOT

TOOLS = ROOT / ".venv" / "tools" / "bin"
OVERLAYS = ROOT / "deploy" / "kubernetes" / "overlays"
NAMES = ("staging", "production")
# What docs/kubernetes.md says has to be made by hand.
SECRETS = {
    "staging": {"millrace-staging", "millrace-scheduler", "millrace-service-tls"},
    "production": {
        *("millrace-production", "millrace-scheduler", "millrace-service-tls", "millrace-kubeconfig"),
    },
}
# Of Kubernetes' versions, those that the schemas are asked of: sleep before a pod ends came with the first.
VERSIONS = ("1.30.0", "1.37.0")
DIGEST = re.compile(r"registry\.example/[a-z-]+@sha256:[0-9a-f]{64}")
Resource = dict[str, Any]


class Overlay:
    """All that an overlay renders: what is applied, and the pods that a deployment starts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.resources = [*rendered(OVERLAYS / name), *rendered(OVERLAYS / name / "release")]

    def of(self, *kinds: str) -> list[Resource]:
        return [one for one in self.resources if one["kind"] in kinds]

    def named(self, kind: str) -> dict[str, Resource]:
        return {one["metadata"]["name"]: one for one in self.of(kind)}

    def pods(self) -> Iterator[tuple[str, Resource]]:
        """The templates of pods, by whose they are."""
        for one in self.of("Deployment", "CronJob"):
            job = one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one["spec"]
            yield one["metadata"]["name"], job["template"]

    def selected(self, labels: dict[str, str]) -> set[str]:
        """Whose pods have these labels."""
        return {name for name, pod in self.pods() if labels.items() <= pod["metadata"]["labels"].items()}


def rendered(folder: Path) -> list[Resource]:
    command = [TOOLS / "kubectl", "kustomize", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module", params=NAMES)
def overlay(request: pytest.FixtureRequest) -> Overlay:
    return Overlay(request.param)


def test_kubernetes_knows_every_field(overlay: Overlay, tmp_path: Path) -> None:
    path = tmp_path / "rendered.yaml"
    path.write_text(yaml.safe_dump_all(overlay.resources))
    for version in VERSIONS:
        command = [TOOLS / "kubernetes-validate", "--strict", "-k", version, path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        # Those of the Prometheus operator, which `Monitor` and `Rule` know.
        assert sorted(re.findall(r"Couldn't find schema for kind (\w+)", said)) == [
            "PrometheusRule",
            "ServiceMonitor",
        ]
        assert said.count(" passed for resource ") == len(overlay.resources) - 2


class Metadata(Strict):
    name: str
    namespace: str
    labels: dict[str, str] = Field(default_factory=dict)


class Expression(Strict):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] = Field(default_factory=list)


class Selector(Strict):
    matchExpressions: list[Expression]  # noqa: N815 - as it is written


class Endpoint(Strict):
    port: str
    path: str = Field(pattern="^/")
    interval: str = Field(pattern=r"^\d+(ms|s|m|h)$")


class MonitorSpec(Strict):
    jobLabel: str  # noqa: N815
    targetLabels: list[str]  # noqa: N815
    selector: Selector
    endpoints: list[Endpoint]


class Monitor(Strict):
    """As much of a ServiceMonitor (monitoring.coreos.com/v1) as is used."""

    apiVersion: Literal["monitoring.coreos.com/v1"]  # noqa: N815
    kind: Literal["ServiceMonitor"]
    metadata: Metadata
    spec: MonitorSpec


def test_prometheus_finds_the_services_by_the_names_of_its_rules(overlay: Overlay) -> None:
    [found] = [Monitor.model_validate(one) for one in overlay.of("ServiceMonitor")]
    [expression] = found.spec.selector.matchExpressions
    assert found.spec.jobLabel == expression.key
    jobs: dict[str, set[str]] = {}
    for name, service in overlay.named("Service").items():
        job = service["metadata"].get("labels", {}).get(expression.key)
        if job in expression.values:
            jobs.setdefault(job, set()).add(name)
            [port] = service["spec"]["ports"]
            assert port["name"] == found.spec.endpoints[0].port
    # The Service that is asked has the same pods: twice as much would be counted.
    assert jobs == {
        "service": {"millrace-service-blue", "millrace-service-green"},
        "scheduler": {"millrace-scheduler"},
    }
    asked = set(re.findall(r'job="(\w+)"', "".join(path.read_text() for path in RULES.glob("*.yml"))))
    assert asked == set(jobs)
    assert found.spec.endpoints[0].path in PATHS


def test_rules_are_those_of_prometheus(overlay: Overlay, tmp_path: Path) -> None:
    assert FILE.read_text() == rules(), "run: python -m deploy.kubernetes"
    [resource] = overlay.of("PrometheusRule")
    assert resource.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert (resource["apiVersion"], set(resource["spec"])) == ("monitoring.coreos.com/v1", {"groups"})
    groups = [
        group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]
    ]
    assert resource["spec"]["groups"] == groups
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(resource["spec"]))
    subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], check=True, capture_output=True)


def test_pods_may_nothing(overlay: Overlay) -> None:
    for name, pod in overlay.pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert spec["securityContext"]["runAsNonRoot"] is True
        service = name.startswith("millrace-service")
        assert spec["securityContext"]["runAsUser"] == (65532 if service else 10001)
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {frozenset(volume) - {"name"} for volume in spec["volumes"]} <= {
            frozenset({kind}) for kind in ("emptyDir", "secret", "configMap", "persistentVolumeClaim")
        }
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}, name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_images_are_named_by_digest_in_one_place(overlay: Overlay) -> None:
    [image] = yaml.safe_load((OVERLAYS / overlay.name / "kustomization.yaml").read_text())["images"]
    for name, pod in overlay.pods():
        [container] = pod["spec"]["containers"]
        if name.startswith("millrace-service"):
            # A deployment puts it in: tests/targets/test_kubernetes.py.
            assert (container["name"], container["image"]) == (CONTAINER, "millrace-service")
        else:
            assert container["image"] == f"{image['newName']}@{image['digest']}"
            assert DIGEST.fullmatch(container["image"])


def test_what_is_named_is_there(overlay: Overlay) -> None:
    secrets = {entry["secretName"] for one in overlay.of("Ingress") for entry in one["spec"]["tls"]}
    for name, pod in overlay.pods():
        spec = pod["spec"]
        assert spec.get("serviceAccountName", "default") in {*overlay.named("ServiceAccount"), "default"}, (
            name
        )
        mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}
        for volume in spec["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in overlay.named("PersistentVolumeClaim")
            if config := volume.get("configMap"):
                assert config["name"] in overlay.named("ConfigMap")
            secrets |= {volume["secret"]["secretName"]} if "secret" in volume else set()
        for container in spec["containers"]:
            secrets |= {source["secretRef"]["name"] for source in container.get("envFrom", [])}
    assert secrets == SECRETS[overlay.name]
    assert not overlay.of("Secret")
    documented = (ROOT / "docs" / "kubernetes.md").read_text()
    assert {name for name in secrets if name not in documented} == set()
    spaces = {one["metadata"].get("namespace") for one in overlay.resources if one["kind"] != "Namespace"}
    assert spaces == set(overlay.named("Namespace"))


def test_each_service_has_the_pods_that_it_means(overlay: Overlay) -> None:
    both = {"millrace-service-blue", "millrace-service-green"}
    expected = {"millrace-service": both, "millrace-scheduler": {"millrace-scheduler"}}
    expected |= {name: {name} for name in both}
    if overlay.name == "production":
        expected["millrace-dask"] = {"millrace-dask-scheduler"}
    services = overlay.named("Service")
    assert {name: overlay.selected(one["spec"]["selector"]) for name, one in services.items()} == expected
    pods = dict(overlay.pods())
    for name, service in services.items():
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
        [port] = service["spec"]["ports"]
        for owner in expected[name]:
            [container] = pods[owner]["spec"]["containers"]
            known = {value for each in container["ports"] for value in (each["name"], each["containerPort"])}
            assert port["targetPort"] in known
    assert services["millrace-service-blue"]["spec"]["ports"][0]["name"] == PORT
    # Which colour has the traffic is not said here, or applying the files would change it.
    assert "millrace.dev/colour" not in services["millrace-service"]["spec"]["selector"]
    [rule] = overlay.of("Ingress")[0]["spec"]["rules"]
    [path] = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "millrace-service", "port": {"name": "http"}}


def test_autoscaling_and_disruption_are_of_what_is_there(overlay: Overlay) -> None:
    deployments = overlay.named("Deployment")
    scaled = overlay.named("HorizontalPodAutoscaler")
    assert set(scaled) == {"millrace-service-blue", "millrace-service-green"}
    for name, one in scaled.items():
        assert one["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        assert name in deployments
        # Without pods it is off, until a deployment starts some: nobody scales a colour that is not used.
        assert deployments[name]["spec"]["replicas"] == 0
        assert one["spec"]["minReplicas"] <= one["spec"]["maxReplicas"]
        # A share of what is asked for needs that something is.
        [container] = deployments[name]["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["requests"]["cpu"]
    blue, green = (scaled[f"millrace-service-{colour}"]["spec"] for colour in ("blue", "green"))
    assert {**blue, "scaleTargetRef": None} == {**green, "scaleTargetRef": None}
    [budget] = overlay.of("PodDisruptionBudget")
    assert overlay.selected(budget["spec"]["selector"]["matchLabels"]) == set(scaled)
    assert budget["spec"]["maxUnavailable"] == 1


def test_colours_differ_in_their_name_alone(overlay: Overlay) -> None:
    deployments = overlay.named("Deployment")
    blue, green = (deployments[f"millrace-service-{colour}"] for colour in ("blue", "green"))
    assert yaml.safe_dump(blue).replace("blue", "green") == yaml.safe_dump(green)


def test_policies_close_every_pod_and_open_what_is_needed(overlay: Overlay) -> None:
    policies = overlay.named("NetworkPolicy")
    nothing = policies.pop("nothing")["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    opened: dict[tuple[str, str], set[str]] = {}
    for name, policy in policies.items():
        spec = policy["spec"]
        chosen = overlay.selected(spec["podSelector"].get("matchLabels", {"none": "of ours"}))
        for direction in ("ingress", "egress"):
            if direction in spec:
                assert direction.title() in spec["policyTypes"]
                for owner in chosen:
                    opened.setdefault((owner, direction), set()).add(name)
    runners = {name for name, _ in overlay.pods()} - {"millrace-service-blue", "millrace-service-green"}
    dask = {name for name in runners if "dask" in name}
    assert opened == {
        ("millrace-service-blue", "ingress"): {"millrace-service"},
        ("millrace-service-green", "ingress"): {"millrace-service"},
        ("millrace-scheduler", "ingress"): {"millrace-scheduler"},
        **{(name, "ingress"): {"millrace-dask"} for name in dask},
        **{(name, "egress"): {"pipelines"} for name in runners},
    }
    [rule] = policies["millrace-service"]["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == ["http"]
    assert [
        (one["namespaceSelector"]["matchLabels"], one["podSelector"]["matchLabels"]) for one in rule["from"]
    ] == [
        ({"kubernetes.io/metadata.name": "ingress-nginx"}, {"app.kubernetes.io/name": "ingress-nginx"}),
        ({"kubernetes.io/metadata.name": "monitoring"}, {"app.kubernetes.io/name": "prometheus"}),
    ]
    # The cloud's metadata service hands out the node's credentials.
    for name in ("pipelines", "steps"):
        blocks = [
            to["ipBlock"] for each in policies[name]["spec"]["egress"] for to in each["to"] if "ipBlock" in to
        ]
        assert {excepted for block in blocks for excepted in block["except"]} == {
            "169.254.169.254/32",
            "fd00:ec2::254/128",
        }


def test_service_is_asked_what_it_has_and_told_what_it_takes(overlay: Overlay) -> None:
    for name in ("millrace-service-blue", "millrace-service-green"):
        spec = overlay.named("Deployment")[name]["spec"]["template"]["spec"]
        [container] = spec["containers"]
        probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
        assert {probe["path"] for probe in probes.values()} <= set(PATHS)
        assert probes["liveness"]["path"] != probes["readiness"]["path"]
        assert all(probe["port"] == PORT for probe in probes.values())
        assert any(path.startswith(ROUTES) for path in PATHS)
        settings = from_environment({one["name"]: one["value"] for one in container["env"]})
        log = settings.log_settings("any", Path("/state"))
        assert log
        mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        assert {"/state", "/tmp"} <= mounts.keys()
        # The log is where it outlives a pod, and all pods may write.
        assert mounts["/" + log.uri.split("/")[1]] == "log"
        assert overlay.named("PersistentVolumeClaim")["millrace-log"]["spec"]["accessModes"] == [
            "ReadWriteMany"
        ]
        pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pause + 30 <= spec["terminationGracePeriodSeconds"]


def test_scheduler_is_started_with_what_it_takes(overlay: Overlay, tmp_path: Path) -> None:
    deployment = overlay.named("Deployment")["millrace-scheduler"]
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    spec = deployment["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert container["command"] == [".venv/bin/python", "-m", "scheduler"]
    understood = command_line().parse_args(container["args"])
    assert (understood.action, understood.host) == ("start", "0.0.0.0")
    assert understood.port == container["ports"][0]["containerPort"]
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    assert mounts[str(understood.schedules.parent)] == "schedules"
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert mounts[str(Path(environment["MILLRACE_SCHEDULER_TOKEN_FILE"]).parent)] == "token"
    [config] = overlay.of("ConfigMap")
    path = tmp_path / understood.schedules.name
    path.write_text(config["data"][path.name])
    settings = read_schedules(path)
    assert {settings.alerts.stack} | {one.stack for one in settings.schedules.values()} == {overlay.name}
    # On production the calendar is the cluster's.
    assert bool(settings.schedules) == (not overlay.of("CronJob"))
    assert container["envFrom"] == [{"secretRef": {"name": f"millrace-{overlay.name}"}}]
    assert spec["terminationGracePeriodSeconds"] > settings.stop_seconds
    assert ("KUBECONFIG" in environment) == (overlay.name == "production")
