"""What a run is told that cannot succeed: every fault at once, each with its remedy, and nothing written."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.checks import Check, check_stack
from stacks.stack_files import load_stack_file
from tests.conftest import ROOT, Home
from tests.stacks.servers import BUCKET, PASSWORD, Servers, free_port

STACKS = ROOT / "configs" / "stacks"


@dataclass(frozen=True)
class Checked:
    """What the check command said: its table's rows as found and remedy by whether they are faults."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Part, state, what was found and remedy; a cell's lines in one."""
        return table_rows(self.out)

    @property
    def faults(self) -> list[tuple[str, ...]]:
        """The rows that are faults."""
        return [row for row in self.rows if row[1] == "fault"]


def table_rows(text: str) -> list[tuple[str, ...]]:
    """The rows of a printed table, each cell's wrapped lines put together."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("│"):
            cells = [cell.strip() for cell in line.strip("│").split("│")]
            if cells[0]:
                rows.append(cells)
            else:
                rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], cells, strict=True)]
    return [tuple(row) for row in rows]


def check(home: Home, **variables: str) -> Checked:
    """Run the check in a process of its own, with some variables set otherwise."""
    changed = Home(home.path, {**home.environment, **variables})
    process = changed.python("run.py", "--stack", "staging", "--check")
    out, err = process.communicate(timeout=120)
    return Checked(process.returncode, out, err)


def objects(servers: Servers) -> list[str]:
    """The keys of all objects in the bucket."""
    return [found["Key"] for found in servers.s3().list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_of_a_whole_stack_everything_found_is_told(staged: Home, servers: Servers) -> None:
    before = objects(servers)
    checked = check(staged)
    assert (checked.code, checked.err, checked.faults) == (0, "", [])
    for part in ("API key taken", f"bucket {BUCKET} at ", "writable", "credentials taken", "s3fs 20"):
        assert [found for _, _, found, _ in checked.rows if found.startswith(part)], part
    assert objects(servers) == before


FAULTS = {
    "a wrong S3 secret": (
        {"S3_SECRET": "wrong"},
        "the secret does not belong to the key (SignatureDoesNotMatch)",
        "MILLRACE_STAGING_S3_SECRET",
    ),
    "an unknown S3 key": (
        {"S3_KEY": "AKIAUNKNOWN"},
        "does not know the key (InvalidAccessKeyId)",
        "MILLRACE_STAGING_S3_KEY",
    ),
    "an absent bucket": ({"S3_BUCKET": "absent"}, "has no bucket 'absent'", "aws s3 mb s3://absent"),
    "a wrong MLflow password": (
        {"MLFLOW_PASSWORD": "wrong-password"},
        "does not take the credentials",
        "MILLRACE_STAGING_MLFLOW_PASSWORD",
    ),
    "an unknown ZenML key": (
        {"ZENML_API_KEY": "ZENKEY_unknown"},
        "the API key is not taken",
        "MILLRACE_STAGING_ZENML_API_KEY",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_its_remedy(name: str, staged: Home) -> None:
    variables, found, remedy = FAULTS[name]
    checked = check(staged, **{f"MILLRACE_STAGING_{key}": value for key, value in variables.items()})
    assert checked.code == 2
    [fault] = checked.faults
    assert found in fault[2]
    assert remedy in fault[3]
    assert "1 of its parts are at fault" in checked.err


def test_a_bucket_that_may_only_be_read_is_told_from_a_wrong_key(staged: Home, servers: Servers) -> None:
    key, secret = servers.reader
    checked = check(staged, MILLRACE_STAGING_S3_KEY=key, MILLRACE_STAGING_S3_SECRET=secret)
    assert checked.code == 2
    [fault] = checked.faults
    assert f"bucket '{BUCKET}' cannot be written to with this key" in fault[2]
    assert "s3:PutObject" in fault[3]


def test_an_api_key_that_is_no_longer_valid_is_told(staged: Home, servers: Servers) -> None:
    body = {"name": "soon-gone", "description": "", "active": True}
    account = servers.zenml("service_accounts", body)["id"]
    keys = f"service_accounts/{account}/api_keys"
    made = servers.zenml(keys, {"name": "key", "description": ""})
    key = made["body"]["key"]
    assert check(staged, MILLRACE_STAGING_ZENML_API_KEY=key).code == 0
    servers.zenml(f"{keys}/{made['id']}", {"active": False}, method="PUT")
    checked = check(staged, MILLRACE_STAGING_ZENML_API_KEY=key)
    assert checked.code == 2
    [fault] = checked.faults
    assert "wrong, expired, or deactivated" in fault[2]


def test_servers_that_are_down_are_all_told_at_once_before_a_run_and_nothing_is_written(
    staged: Home, servers: Servers
) -> None:
    before = objects(servers)
    nobody = f"http://127.0.0.1:{free_port()}"
    down = {f"MILLRACE_STAGING_{name}": nobody for name in ("S3_ENDPOINT", "MLFLOW_URL", "ZENML_URL")}
    done = Home(staged.path, {**staged.environment, **down}).train("--stack", "staging")
    assert done.returncode == 2
    assert "The stack 'staging' is not ready; nothing was run." in done.stderr
    found = [row[2] for row in table_rows(done.stderr)]
    assert len(found) == 3
    assert sum("nobody listens there" in each for each in found) == 3
    assert objects(servers) == before
    assert not [path for path in staged.path.rglob("*") if path.is_file()]


def test_a_refused_run_leaves_nothing_on_the_servers_that_are_up(staged: Home, servers: Servers) -> None:
    before = objects(servers)
    counted = (
        "import json\nfrom run import _stack\n_stack('staging')\n"
        "from zenml.client import Client\nc = Client()\n"
        "lists = (c.list_stacks, c.list_stack_components, c.list_pipeline_runs, c.list_secrets)\n"
        "print(json.dumps([each().total for each in lists]))"
    )
    counts = staged.ask(counted)
    broken = {**staged.environment, "MILLRACE_STAGING_S3_SECRET": "wrong"}
    done = Home(staged.path, broken).train("--stack", "staging")
    assert done.returncode == 2
    assert staged.ask(counted) == counts
    assert objects(servers) == before


def test_a_server_that_never_answers_costs_seconds_and_not_minutes(staged: Home) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        down = {f"MILLRACE_STAGING_{name}": url for name in ("S3_ENDPOINT", "MLFLOW_URL", "ZENML_URL")}
        checked = check(staged, **down)
    assert checked.code == 2
    assert len(checked.faults) == 3
    assert sum("is too slow to answer" in fault[2] for fault in checked.faults) == 2


def test_variables_that_are_not_set_are_named_with_where_they_are_looked_for(staged: Home) -> None:
    bare = {k: v for k, v in staged.environment.items() if not k.startswith("MILLRACE_STAGING_S3")}
    process = Home(staged.path, bare).python("run.py", "--stack", "staging", "--check")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"nor in {staged.path}/staging/environment: MILLRACE_STAGING_S3_BUCKET, " in err


# What follows asks the checks in this process, of servers that answer as they are told to.


@contextmanager
def answering(answers: dict[str, tuple[int, str]]) -> Iterator[str]:
    """An HTTP server that has these answers, by path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answers.get(self.path.partition("?")[0], (404, "not here"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Check]]:
    """Check a stack of given components and server, and return what is at fault, by part."""
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANY", "any")

    def faults(server: str = "", **components: Any) -> dict[str, Check]:
        base = {
            "orchestrator": {"flavor": "local"},
            "artifact_store": {"flavor": "local", "configuration": {"path": str(tmp_path / "store")}},
            "experiment_tracker": {"flavor": "mlflow"},
        }
        data: dict[str, Any] = {"name": "mine", "components": {**base, **components}}
        if server:
            data["server"] = {"url": server, "api_key": "${ANY}"}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
        checks = check_stack(load_stack_file("mine", tmp_path))
        return {check.part: check for check in checks if check.remedy}

    return faults


def test_a_stack_on_this_machine_needs_nothing(faults: Callable[..., dict[str, Check]]) -> None:
    assert faults() == {}


def test_an_unknown_key_and_a_wrong_value_of_a_configuration_are_told(
    faults: Callable[..., dict[str, Check]],
) -> None:
    tracker = {"flavor": "mlflow", "configuration": {"tracking_url": "http://127.0.0.1:1"}}
    store = {"flavor": "s3", "configuration": {"path": "bucket"}}
    found = faults(experiment_tracker=tracker, artifact_store=store)
    assert "Did you mean 'tracking_uri'?" in found["experiment_tracker (mlflow)"].found
    assert (
        "configs/stacks/mine.yaml, components.experiment_tracker"
        in found["experiment_tracker (mlflow)"].remedy
    )
    assert "s3://" in found["artifact_store (s3)"].found
    # ZenML would leave it out silently.
    pods = {"flavor": "kubernetes", "configuration": {"pod_settings": {"labels": {}, "security_context": {}}}}
    [fault] = faults(orchestrator=pods).values()
    assert fault.found == (
        "unknown key 'pod_settings.security_context'. Did you mean 'container_security_context'?"
    )


def test_packages_that_are_absent_or_too_old_are_told(faults: Callable[..., dict[str, Check]]) -> None:
    found = faults(
        orchestrator={"flavor": "local", "requires": ["no-such-package-here>=1"]},
        experiment_tracker={"flavor": "mlflow", "requires": ["mlflow>=99"]},
    )
    assert found["orchestrator (local)"].found == "no-such-package-here is not installed"
    assert "uv pip install --python .venv/bin/python 'no-such-package-here>=1'" in (
        found["orchestrator (local)"].remedy
    )
    assert "wanted >=99" in found["experiment_tracker (mlflow)"].found


def test_servers_of_other_versions_and_other_servers_are_told(
    faults: Callable[..., dict[str, Check]],
) -> None:
    tracker = {"tracking_username": "${ANY}", "tracking_password": "${ANY}"}

    def mlflow_at(url: str) -> dict[str, Any]:
        return {"flavor": "mlflow", "configuration": {"tracking_uri": url, **tracker}}

    old = {"/api/v1/info": (200, json.dumps({"version": "0.70.0"})), "/version": (200, "2.22.1")}
    with answering(old) as url:
        found = faults(url, experiment_tracker=mlflow_at(url))
    assert found["server"].found.startswith("the server is ZenML 0.70.0, this is 0.98")
    assert found["experiment_tracker (mlflow)"].found.startswith("the server is MLflow 2.22.1, this is 3.")
    with answering({}) as url:
        found = faults(url, experiment_tracker=mlflow_at(url))
    assert "is no ZenML server" in found["server"].found
    assert "is no MLflow server" in found["experiment_tracker (mlflow)"].found
    without_database = {"/api/v1/info": (500, "[]"), "/version": (503, "Service Unavailable")}
    with answering(without_database) as url:
        found = faults(url, experiment_tracker=mlflow_at(url))
    assert [found[part].remedy for part in ("server", "experiment_tracker (mlflow)")] == [
        "See the server's log: is its database up?"
    ] * 2


def test_a_folder_that_cannot_be_made_is_told(
    faults: Callable[..., dict[str, Check]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    store = {"flavor": "local", "configuration": {"path": str(tmp_path / "file" / "store")}}
    assert (
        f"{tmp_path}/file cannot be written to"
        in faults(artifact_store=store)["artifact_store (local)"].found
    )


def test_a_cluster_a_registry_and_docker_are_asked(
    faults: Callable[..., dict[str, Check]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    version = dict.fromkeys(("major", "minor", "gitCommit", "gitTreeState", "buildDate", "goVersion"), "1")
    version |= {"compiler": "gc", "platform": "linux", "gitVersion": "v1.30.0"}
    answers = {"/version/": (200, json.dumps(version)), "/v2/": (401, "{}")}

    def cluster(context: str) -> dict[str, Any]:
        return {"flavor": "kubernetes", "configuration": {"kubernetes_context": context}}

    with answering(answers) as url:
        contexts = {"a": url, "gone": f"http://127.0.0.1:{free_port()}"}
        kubeconfig = {
            "current-context": "a",
            "clusters": [{"name": name, "cluster": {"server": to}} for name, to in contexts.items()],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "u"}} for name in contexts],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        registry = {"flavor": "default", "configuration": {"uri": f"{url.removeprefix('http://')}/images"}}
        builder = {"flavor": "local"}
        found = faults(orchestrator=cluster("a"), container_registry=registry, image_builder=builder)
        assert list(found) == ["image_builder (local)"], found
        assert "Docker does not answer" in found["image_builder (local)"].found
        gone = faults(orchestrator=cluster("gone"))["orchestrator (kubernetes)"]
        assert "the cluster of 'gone' does not answer" in gone.found
        absent = faults(orchestrator=cluster("absent"))["orchestrator (kubernetes)"]
        assert "no context 'absent'" in absent.found
        assert "kubectl config get-contexts" in absent.remedy
    with answering({}) as url:
        registry["configuration"] = {"uri": f"{url.removeprefix('http://')}/images"}
        assert (
            "is no container registry"
            in faults(container_registry=registry)["container_registry (default)"].found
        )


def test_no_secret_is_in_the_table(staged: Home) -> None:
    checked = check(staged, MILLRACE_STAGING_S3_BUCKET="absent")
    assert checked.code == 2
    for secret in (PASSWORD, staged.environment["MILLRACE_STAGING_S3_SECRET"]):
        assert secret not in checked.out + checked.err


def test_make_stacks_lists_every_stack_with_its_components_and_their_health(staged: Home) -> None:
    out, err = staged.python("-m", "stacks.overview").communicate(timeout=120)
    assert err == ""
    assert [line for line in out.splitlines() if line.endswith("ready")] == [
        "local: ready",
        "production: not ready",
        "production-client: not ready",
        "staging: ready",
    ]
    assert "MILLRACE_PRODUCTION_ZENML_URL" in out
    assert {row[0] for row in table_rows(out)} >= {"server", "artifact_store (local)", "artifact_store (s3)"}
