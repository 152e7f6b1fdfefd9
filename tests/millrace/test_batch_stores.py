"""A job's output on an S3 server that answers over HTTP, and one that goes away in the middle of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from millrace.batch import Manifest, Output, run_job
from millrace.batch.job import Progress
from millrace.errors import UserError
from tests.conftest import forget_object_stores
from tests.millrace.test_batch import left, make_job, write_table


class Store:
    """An S3 server whose objects outlive it: they are in this process' memory."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()
        self.port = self.server.get_host_and_port()[1]

    def stop(self) -> None:
        self.server.stop()

    @property
    def client(self) -> Any:
        return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}")

    def names(self, prefix: str) -> list[str]:
        found = self.client.list_objects_v2(Bucket="scores", Prefix=prefix).get("Contents", [])
        return sorted(item["Key"].removeprefix(prefix) for item in found)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s3cret-key",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    store = Store()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{store.port}")
    forget_object_stores()
    store.client.create_bucket(Bucket="scores")
    yield store
    store.stop()
    forget_object_stores()


def test_nobody_sees_half_of_an_output_and_a_dead_store_costs_no_partition(
    store: Store, tmp_path: Path
) -> None:
    write_table(tmp_path / "in.parquet")
    job = make_job(tmp_path / "in.parquet")
    here = run_job(job, Output(str(tmp_path / "here")), "run", False)
    seen: list[list[str]] = []

    def stop(progress: Progress) -> None:
        seen.append(store.names("out/"))
        if progress.rows > 250:
            store.stop()

    with pytest.raises(
        UserError, match=r"s3://scores/out: cannot be written.*goes on from what is"
    ) as caught:
        run_job(job, Output("s3://scores/out"), "first", False, stop)
    assert "s3cret" not in str(caught.value)
    store.start()
    assert not any("_manifest.json" in names for names in seen)
    assert [name for name in store.names("out/") if name.startswith("part-")]
    scored: list[int] = []
    manifest = run_job(
        job, Output("s3://scores/out"), "second", False, lambda progress: scored.append(progress.rows)
    )
    assert scored[-1] == 430 - 200
    assert manifest.digest == here.digest
    assert store.names("out/") == [name for name in left(tmp_path / "here") if name != "_quarantine"]
    body = store.client.get_object(Bucket="scores", Key="out/_manifest.json")["Body"].read()
    assert Manifest.model_validate_json(body) == manifest
    with pytest.raises(UserError, match="is there already"):
        run_job(job, Output("s3://scores/out"), "third", False)
