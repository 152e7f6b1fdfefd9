"""Every input of the corpus is refused in one clear sentence, exit code 2, and nothing is touched."""

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import run
from tests.bad_inputs.corpus import CASES, PROBLEM, Case
from tests.conftest import FEWEST, ROOT, Home, forget_object_stores, opened_copy

# A path, a number or a quoted word: a sentence without one says nothing about this input.
LONGEST = 700


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An empty web server, and an S3 with an empty bucket `stalls`."""
    import boto3
    from moto.server import ThreadedMotoServer

    folder = tmp_path_factory.mktemp("web")
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(folder)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    s3 = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", s3)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="stalls")
        forget_object_stores()
        yield {"http": f"http://127.0.0.1:{web.server_port}", "s3": s3}
    forget_object_stores()
    moto.stop()
    web.shutdown()
    web.server_close()


@pytest.fixture(scope="module")
def kept(
    trained: tuple[Home, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], object]]:
    """This process' own home; what it returns tells the registry's state."""
    from mlflow.tracking import MlflowClient

    with opened_copy(trained[1], tmp_path_factory.mktemp("bad_inputs") / "state") as home:
        client = MlflowClient(f"sqlite:///{home.path}/store/mlflow.db")

        def state() -> object:
            models = [
                dict(client.get_registered_model(m.name).aliases) for m in client.search_registered_models()
            ]
            return models, sorted((v.version, *sorted(v.tags)) for v in client.search_model_versions())

        yield state


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused(
    case: Case,
    servers: dict[str, str],
    kept: Callable[[], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    stalls = tmp_path / "configs" / "problems" / "stalls.yaml"
    stalls.write_text(yaml.safe_dump(PROBLEM, sort_keys=False), encoding="utf-8")
    monkeypatch.setattr(run, "CONFIGS", tmp_path / "configs")
    files = set((tmp_path / "configs").rglob("*"))
    before = kept()
    given = [argument.replace("{http}", servers["http"]) for argument in case.make(tmp_path)]
    files |= set((tmp_path / "configs").rglob("*"))
    arguments = [] if "--pipeline" in given else ["--pipeline", "training"]
    arguments += [] if "--problem" in given or "--pipeline" in given else ["--problem", "stalls"]
    arguments += [*given, *(() if "profiling" in given else FEWEST)]
    code = run.main(arguments)
    said = capsys.readouterr()
    messages = re.findall(r"^error: (.*)", said.err, flags=re.MULTILINE | re.DOTALL)
    message = messages[0].strip().replace(str(tmp_path) + "/", "") if messages else said.err
    record_property("input", case.name)
    record_property("number", CASES.index(case))
    record_property("message", message)
    assert code == 2, said.err
    assert len(messages) == 1
    assert "Traceback" not in said.err + said.out
    assert case.says in message
    assert len(message) < LONGEST
    assert kept() == before
    assert set((tmp_path / "configs").rglob("*")) == files
