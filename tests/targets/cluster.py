"""A stand-in for a Kubernetes cluster, which no package index has: enough of an API server for kubectl.

It keeps objects, and does what controllers, a kubelet and kube-proxy do with Deployments, pods and Services;
each pod is a process of this machine. It knows no permissions, quotas or network policies, checks no object
by a schema, and merges what is applied without asking whose a field is. kubectl is the real one.
"""

import copy
import itertools
import json
import os
import random
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import psutil
import yaml

from tests.bentos.running import free_port
from tests.targets.spdy import Forwarding, dictionary

NAMESPACE = "millrace"
GROUPS: dict[str, dict[str, str]] = {
    "v1": {"pods": "Pod", "services": "Service"},
    "apps/v1": {"deployments": "Deployment"},
    "discovery.k8s.io/v1": {"endpointslices": "EndpointSlice"},
}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


@dataclass
class Container:
    """What runs in a pod."""

    number: int
    port: int
    log: Path

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return psutil.pid_exists(self.number)

    def signal(self, number: signal.Signals) -> None:
        """Tell it something; it may have ended."""
        with suppress(ProcessLookupError):
            os.kill(self.number, number)


class Containers:
    """What `tests.targets.pod` makes of a bundle, begun when somebody asks for it."""

    def __init__(self, bundle: Path) -> None:
        """Starts the process that they are forked from."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.targets.pod", bundle],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def begin(self, name: str, what: str, folder: Path) -> Container:
        """A container of a pod with a name; see `tests.targets.pod`."""
        assert self._process.stdin
        assert self._process.stdout
        port, log, metrics = free_port(), folder / f"{name}.log", folder / name
        metrics.mkdir()
        self._process.stdin.write(f"{port} {what} {metrics} {log}\n")
        self._process.stdin.flush()
        return Container(int(self._process.stdout.readline()), port, log)

    def close(self) -> None:
        """End that process; containers are their cluster's."""
        self._process.communicate(timeout=60)


class Asked(NamedTuple):
    """What somebody did, as permissions name it; a resource of a part as pods/log."""

    verb: str
    group: str
    resource: str
    name: str


class Cluster:
    """The objects of one namespace, and what is made of them."""

    def __init__(self, folder: Path, kubectl: Path, runtime: Containers, images: dict[str, str]) -> None:
        """`images` says what each image is; see `tests.targets.pod`."""
        self.images = images
        self.runtime = runtime
        self.words = dictionary(kubectl)
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.containers: dict[str, Container] = {}
        self.asked: set[Asked] = set()
        self.changed = threading.Condition(threading.RLock())
        self._folder = folder
        self._versions, self._names = itertools.count(1), itertools.count(1)
        self._stop = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.cluster = self
        self._proxy = _Proxy(("127.0.0.1", 0), _Connection)
        self._proxy.cluster = self
        works = (self._server.serve_forever, self._proxy.serve_forever, self._control)
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def service_url(self) -> str:
        """Of the Service millrace-service, as it is found inside a cluster."""
        return f"http://127.0.0.1:{self._proxy.server_address[1]}"

    def close(self) -> None:
        """End all of it."""
        self._stop.set()
        for server in (self._server, self._proxy):
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()
        for container in self.containers.values():
            container.signal(signal.SIGKILL)

    def put(self, plural: str, resource: dict[str, Any]) -> dict[str, Any]:
        """Keep an object, in the place of one of its name."""
        with self.changed:
            resource = copy.deepcopy(resource)
            name = resource["metadata"]["name"]
            before = self.objects.get((plural, name))
            metadata = resource["metadata"]
            metadata.update(
                namespace=NAMESPACE, uid=f"{plural}-{name}", resourceVersion=str(next(self._versions))
            )
            generation = before["metadata"]["generation"] if before else 0
            changed = before is None or before.get("spec") != resource.get("spec")
            metadata["generation"] = generation + changed
            self.objects[plural, name] = resource
            self.changed.notify_all()
            return resource

    def find(self, plural: str, **labels: str) -> list[dict[str, Any]]:
        """The objects of a kind with these labels."""
        with self.changed:
            return [
                one
                for (kind, _), one in sorted(self.objects.items())
                if kind == plural and labels.items() <= one["metadata"].get("labels", {}).items()
            ]

    def connect(self, pod: str) -> socket.socket:
        """A connection to the process of a pod."""
        return socket.create_connection(("127.0.0.1", self.containers[pod].port), timeout=60)

    def ready_pods(self, service: str) -> list[str]:
        """The pods that have a Service's traffic."""
        with self.changed:
            endpoints = self.objects["endpointslices", service]["endpoints"] or ()
            return [one["targetRef"]["name"] for one in endpoints]

    def _control(self) -> None:
        while not self._stop.is_set():
            with self.changed:
                for deployment in self.find("deployments"):
                    self._run(deployment)
                for service in self.find("services"):
                    self._slice(service)
            time.sleep(0.05)

    def _run(self, deployment: dict[str, Any]) -> None:
        """Bring a Deployment's pods nearer to what it says, and its status to what they are."""
        spec = deployment["spec"]
        pods = self.find("pods", **spec["selector"]["matchLabels"])
        for pod in pods:
            self._look(pod)
        living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        current = [pod for pod in living if pod["spec"] == spec["template"]["spec"]]
        for pod in living:
            if pod not in current[: spec["replicas"]]:
                self._end(pod)
        for _ in range(spec["replicas"] - len(current)):
            self._begin(deployment)
        ready = sum(_ready(pod) for pod in current[: spec["replicas"]])
        count = len(current[: spec["replicas"]])
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": count,
            "updatedReplicas": count,
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        if deployment.get("status") != status:
            self.put("deployments", {**deployment, "status": status})

    def _begin(self, deployment: dict[str, Any]) -> None:
        template = deployment["spec"]["template"]
        number = next(self._names)
        name = f"{deployment['metadata']['name']}-{number:05d}"
        [container] = template["spec"]["containers"]
        pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {**template["metadata"], "name": name}}
        state: dict[str, Any] = {"running": {}}
        if container["image"] in self.images:
            what = self.images[container["image"]]
            self.containers[name] = self.runtime.begin(name, what, self._folder)
        else:
            state = {
                "waiting": {"reason": "ImagePullBackOff", "message": f"no such image: {container['image']}"}
            }
        status = {
            "phase": "Running",
            "podIP": f"10.0.0.{number}",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": container["name"], "ready": False, "state": state}],
        }
        self.put("pods", {**pod, "spec": template["spec"], "status": status})

    def _look(self, pod: dict[str, Any]) -> None:
        """Ask a pod whether it is ready; forget one that has ended."""
        name = pod["metadata"]["name"]
        container = self.containers.get(name)
        ended = container is None or not container.runs
        if ended and "deletionTimestamp" in pod["metadata"]:
            del self.objects["pods", name]
            self.changed.notify_all()
            return
        ready = bool(container and not ended and (_ready(pod) or _answers(container.port)))
        changed = copy.deepcopy(pod)
        changed["status"]["conditions"] = [{"type": "Ready", "status": str(ready)}]
        if container and ended:
            waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
            changed["status"]["containerStatuses"][0]["state"] = {"waiting": waiting}
        if changed != pod:
            self.put("pods", changed)

    def _end(self, pod: dict[str, Any]) -> None:
        metadata = {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        self.put("pods", {**pod, "metadata": metadata})
        container = self.containers.get(metadata["name"])
        if container:
            container.signal(signal.SIGTERM)

    def _slice(self, service: dict[str, Any]) -> None:
        name = service["metadata"]["name"]
        endpoints = [
            {
                "addresses": [pod["status"]["podIP"]],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"]},
            }
            for pod in self.find("pods", **service["spec"]["selector"])
            if _ready(pod)
        ]
        known = self.objects.get(("endpointslices", name))
        if known is None or known["endpoints"] != (endpoints or None):
            labels = {"kubernetes.io/service-name": name}
            self.put(
                "endpointslices",
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {"name": name, "labels": labels},
                    "addressType": "IPv4",
                    # As the API server writes an empty list.
                    "endpoints": endpoints or None,
                },
            )


class _Server(ThreadingHTTPServer):
    cluster: Cluster
    daemon_threads = True


class _Proxy(socketserver.ThreadingTCPServer):
    """kube-proxy: each connection to the Service goes to one of its endpoints."""

    cluster: Cluster
    daemon_threads = True
    request_queue_size = 128


class _Connection(socketserver.BaseRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        cluster = self.server.cluster
        pods = cluster.ready_pods("millrace-service")
        if pods:
            with cluster.connect(random.choice(pods)) as other:
                back = threading.Thread(target=_pump, args=(other, self.request), daemon=True)
                back.start()
                _pump(self.request, other)
                back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            target.sendall(received)
        target.shutdown(socket.SHUT_WR)


class _Handler(BaseHTTPRequestHandler):
    """HTTP as kubectl speaks it."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Nothing is said."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if answer := _discovery(url.path):
            return self._answer(200, answer)
        place = self._place(url.path)
        if place is None:
            return self._missing(url.path)
        plural, name, part = place
        query = parse_qs(url.query)
        if part == "log":
            container = self.server.cluster.containers.get(name)
            if container is None:
                return self._answer(400, _status(400, "BadRequest", "container is waiting to start"))
            return self._text(container.log.read_bytes())
        if part == "portforward":
            # By WebSocket; kubectl then tries the older way.
            return self._answer(400, _status(400, "BadRequest", "no WebSockets here"))
        if "sendInitialEvents" in query:
            # It then lists first and watches after.
            return self._answer(422, _status(422, "Invalid", "no watch begins with what is there"))
        if "watch" in query:
            return self._watch(plural, query)
        if name:
            found = self.server.cluster.objects.get((plural, name))
            return self._answer(200, found) if found else self._missing(f'{plural} "{name}"')
        items = _selected(self.server.cluster.find(plural), query)
        group = next(group for group, kinds in GROUPS.items() if plural in kinds)
        kind = f"{GROUPS[group][plural]}List"
        listed = {"kind": kind, "apiVersion": group, "metadata": {"resourceVersion": "1"}, "items": items}
        return self._answer(200, listed)

    def do_POST(self) -> None:
        place = self._place(urlsplit(self.path).path)
        if place is None:
            return self._missing(self.path)
        plural, name, part = place
        if part == "portforward":
            self.send_response(101)
            for header, value in (
                ("Connection", "Upgrade"),
                ("Upgrade", "SPDY/3.1"),
                ("X-Stream-Protocol-Version", "portforward.k8s.io"),
            ):
                self.send_header(header, value)
            self.end_headers()
            cluster = self.server.cluster
            Forwarding(self.rfile, self.connection, cluster.words, lambda: cluster.connect(name)).run()
            self.close_connection = True
            return None
        return self._answer(201, self.server.cluster.put(plural, self._body()))

    def do_PATCH(self) -> None:
        place = self._place(urlsplit(self.path).path)
        if place is None:
            return self._missing(self.path)
        plural, name, _ = place
        cluster, body = self.server.cluster, self._body()
        with cluster.changed:
            before = cluster.objects.get((plural, name))
            if before is None and "apply" not in self.headers["Content-Type"]:
                return self._missing(f'{plural} "{name}"')
            return self._answer(200, cluster.put(plural, _merged(before or {}, body)))

    def _place(self, path: str) -> tuple[str, str, str] | None:
        """The kind, name and part that a path names; what is asked of it is noted."""
        for group, kinds in GROUPS.items():
            root = f"/{'api' if group == 'v1' else 'apis'}/{group}/namespaces/{NAMESPACE}/"
            if path.startswith(root):
                plural, name, part, *_ = [*path.removeprefix(root).split("/"), "", ""]
                if plural not in kinds:
                    return None
                self._note(group.rpartition("/")[0], plural, name, part)
                return plural, name, part
        return None

    def _note(self, group: str, plural: str, name: str, part: str) -> None:
        query = parse_qs(urlsplit(self.path).query)
        verb = {"POST": "create", "PATCH": "patch"}.get(self.command, "get" if name else "list")
        if verb == "list":
            verb = "watch" if "watch" in query else "list"
            # A list of one by its name needs no more than that one.
            name = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
        resource = f"{plural}/{part}" if part else plural
        cluster = self.server.cluster
        cluster.asked.add(Asked(verb, group, resource, name))
        if self.command == "PATCH" and (plural, name) not in cluster.objects:
            cluster.asked.add(Asked("create", group, resource, name))

    def _body(self) -> Any:
        return yaml.safe_load(self.rfile.read(int(self.headers["Content-Length"])))

    def _watch(self, plural: str, query: dict[str, list[str]]) -> None:
        """Every change, as long as somebody listens."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        cluster, told = self.server.cluster, dict[str, Any]()
        with suppress(OSError):
            while True:
                with cluster.changed:
                    for one in _selected(cluster.find(plural), query):
                        name = one["metadata"]["name"]
                        if told.get(name) != one:
                            kind = "MODIFIED" if name in told else "ADDED"
                            told[name] = one
                            line = json.dumps({"type": kind, "object": one}).encode() + b"\n"
                            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                            self.wfile.flush()
                    cluster.changed.wait(1)

    def _missing(self, what: str) -> None:
        self._answer(404, _status(404, "NotFound", f"{what} not found"))

    def _answer(self, status: int, content: Any) -> None:
        self._text(json.dumps(content).encode(), status, "application/json")

    def _text(self, body: bytes, status: int = 200, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _discovery(path: str) -> dict[str, Any] | None:
    """What kubectl asks to learn which kinds there are."""
    if path == "/version":
        return {"major": "1", "minor": "37", "gitVersion": "v1.37.0", "platform": "linux/amd64"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        groups = [
            {"name": group.partition("/")[0], "versions": [version], "preferredVersion": version}
            for group in GROUPS
            if "/" in group
            for version in [{"groupVersion": group, "version": group.partition("/")[2]}]
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path.startswith("/openapi/v3"):
        return _openapi(path.removeprefix("/openapi/v3").lstrip("/"))
    group = path.removeprefix("/apis/").removeprefix("/api/")
    kinds = GROUPS.get(group)
    if kinds is None:
        return None
    resources = [
        {"name": plural, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": VERBS}
        for plural, kind in kinds.items()
    ]
    return {"kind": "APIResourceList", "groupVersion": group, "resources": resources}


def _openapi(name: str) -> dict[str, Any] | None:
    """As little of the API's own description as makes kubectl leave the check of fields to the server."""
    places = {f"{'api' if group == 'v1' else 'apis'}/{group}": group for group in GROUPS}
    if not name:
        return {"paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}"} for place in places}}
    group, _, version = places[name].rpartition("/")
    paths = {
        f"/{name}/namespaces/{{namespace}}/{plural}/{{name}}": {
            "patch": {
                "parameters": [{"name": "fieldValidation", "in": "query"}],
                "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
            }
        }
        for plural, kind in GROUPS[places[name]].items()
    }
    return {"openapi": "3.0.0", "paths": paths}


def _selected(items: list[dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
    labels = dict(part.split("=", 1) for part in query.get("labelSelector", [""])[0].split(",") if part)
    name = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
    return [
        one
        for one in items
        if labels.items() <= one["metadata"].get("labels", {}).items()
        and (not name or one["metadata"]["name"] == name)
    ]


def _merged(before: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _ready(pod: dict[str, Any]) -> bool:
    [condition] = pod["status"]["conditions"]
    return condition["status"] == "True" and "deletionTimestamp" not in pod["metadata"]


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
