"""Object stores and web servers, real ones on loopback, and the credentials they take."""

import http.server
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.contract import Column
from millrace.errors import UserError
from millrace.sources import Source, read
from millrace.sources.credentials import Credentials, keep
from tests.conftest import forget_object_stores
from tests.millrace.test_sources import refusal

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]})
ONLY_A = {"a": Column(type="integer")}
CSV = b"a;b\n1;x\n2;y\n3;z\n"


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """The endpoint of an S3 server with the bucket `tables`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="tables")
    client.put_object(Bucket="tables", Key="houses.csv", Body=CSV)
    for year in (2020, 2021):
        sink = pa.BufferOutputStream()
        pq.write_table(TABLE, sink)
        body = sink.getvalue().to_pybytes()
        client.put_object(Bucket="tables", Key=f"parts/year={year}/part.parquet", Body=body)
    yield endpoint
    server.stop()


@contextmanager
def checked_keys(store: str) -> Iterator[None]:
    """The server looks at access keys meanwhile, and knows none."""

    def after(actions: bytes) -> None:
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{store}/moto-api/reset-auth", actions, headers, method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    after(b"0")
    try:
        yield
    finally:
        after(b"inf")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a web server that knows no ranges."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "houses.csv").write_bytes(CSV)
    pq.write_table(TABLE, folder / "houses.parquet")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def refused(source: Any, cache: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(Source.model_validate(source), cache)
    message = str(caught.value)
    assert "s3cret" not in message
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.usefixtures("keys")
def test_an_object_store_is_read_by_the_endpoint_of_the_source(store: str, tmp_path: Path) -> None:
    raw = read(Source(uri="s3://tables/houses.csv", endpoint=store), tmp_path, ONLY_A)
    assert raw.table.to_pydict() == {"a": ["1", "2", "3"]}
    assert raw.origin == "s3://tables/houses.csv"


@pytest.mark.usefixtures("keys")
def test_an_object_store_is_read_by_the_endpoint_of_the_environment(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", store)
    forget_object_stores()
    raw = read(Source(uri="s3://tables/parts", where=(("year", "==", 2021),)), tmp_path, ONLY_A)
    assert raw.table.to_pydict() == {"a": [1, 2, 3]}
    assert raw.format == "Parquet: 2 files, partitioned by year"


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://tables/hoses.csv", "no such file. Did you mean 'houses.csv'?"),
        ("s3://absent/houses.csv", "no such file (The specified bucket does not exist)"),
        ("s3://absent/houses.parquet", "no such file"),
        ("s3://tables/nothing/", "the file type is not known"),
    ],
)
def test_what_is_not_in_the_store_is_refused(store: str, tmp_path: Path, uri: str, expected: str) -> None:
    assert expected in refused({"uri": uri, "endpoint": store}, tmp_path)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("name", ["houses.csv", "parts/year=2020/part.parquet"])
def test_a_wrong_key_is_refused(store: str, tmp_path: Path, name: str) -> None:
    with checked_keys(store):
        message = refused({"uri": f"s3://tables/{name}", "endpoint": store}, tmp_path)
    assert "cannot be read: The AWS Access Key Id you provided does not exist" in message


@pytest.mark.usefixtures("keys")
def test_a_store_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    message = refused({"uri": "s3://tables/houses.csv", "endpoint": "http://127.0.0.1:9"}, tmp_path)
    assert "cannot be read: Could not connect to the endpoint" in message


@pytest.mark.parametrize("name", ["houses.csv", "houses.parquet", "houses.csv?version=2"])
def test_a_web_server_is_read(web: str, tmp_path: Path, name: str) -> None:
    raw = read(f"{web}/{name}", tmp_path, ONLY_A)
    assert [int(a) for a in raw.table.column("a").to_pylist()] == [1, 2, 3]
    assert raw.names == ["a", "b"]


@pytest.mark.parametrize("name", ["hoses.csv", "hoses.parquet"])
def test_a_page_that_is_not_there_is_refused(web: str, tmp_path: Path, name: str) -> None:
    assert refusal(f"{web}/{name}", tmp_path) == f"{web}/{name}: no such file."


def test_a_file_system_without_its_package_names_it(tmp_path: Path) -> None:
    message = refusal("gs://bucket/x.csv", tmp_path)
    assert "needs a package that is not installed: Please install gcsfs" in message


def test_an_endpoint_is_for_stores(tmp_path: Path) -> None:
    assert "'endpoint' is for s3://" in refused({"uri": "x.csv", "endpoint": "http://h"}, tmp_path)


@pytest.mark.parametrize(
    ("source", "masked"),
    [
        ("postgresql://u:s3cret@h/db#t", "postgresql://u:***@h/db"),
        ("postgresql://u:s3cr@et/x@h/db#t", "postgresql://u:***@h/db"),
        ("postgresql://u:x${A}s3cret@h/db", "postgresql://u:***@h/db"),
        ("postgresql://h/db?user=u&password=s3cret", "password=***"),
        ("https://h:8080/x.csv?sig=s3cret&v=1", "sig=***&v=1"),
        ({"uri": "s3://b/x.csv", "endpoint": "http://k:s3cret@h:9000"}, "http://k:***@h:9000"),
        ({"repo": "https://u:s3cret@h/r.git", "path": "x.csv"}, "https://u:***@h/r.git"),
    ],
)
def test_a_password_in_clear_text_is_refused_without_showing_it(source: Any, masked: str) -> None:
    with pytest.raises(UserError) as caught:
        Source.model_validate(source)
    message = str(caught.value)
    assert masked in message
    assert "write ${NAME}" in message
    assert "s3cr" not in message


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://u:${A}@h/db",
        "postgresql://u:{{ db.password }}@h/db",
        "postgresql://u@h:5432/db",
        "https://h:8080/a@b.csv?version=2",
        "data/a:b@c.csv",
        "https://h/x.csv?sig=${A}",
    ],
)
def test_placeholders_and_look_alikes_are_no_passwords(uri: str) -> None:
    source = Source.model_validate(uri)
    assert source.origin == uri
    assert "${" not in source.model_dump_json()
    assert Source.model_validate_json(source.model_dump_json()) == source


def test_an_unset_variable_and_a_secret_without_a_reader_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    assert "The environment variable NOWHERE is not set" in refusal("${NOWHERE}/x.csv", tmp_path)
    assert "secrets can be read in a pipeline only" in refusal("s3://{{a.b}}/x.csv", tmp_path)


def test_variables_and_secrets_are_filled_in_and_hidden_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASS", "p@ss/word")
    credentials = Credentials(lambda name, key: f"{name}-{key}-value")
    filled = credentials.fill(keep("pg://u:${PASS}@{{db.host}}/x?y={{ db.y }}"))
    assert filled == "pg://u:p%40ss%2Fword@db-host-value/x?y=db-y-value"
    assert (
        credentials.hide(f"no {filled}, no p@ss/word")
        == "no pg://u:${PASS}@{{db.host}}/x?y={{ db.y }}, no ${PASS}"
    )


def test_what_a_placeholder_stands_for_is_in_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLDER", str(tmp_path / "s3cret-folder"))
    message = refused("${FOLDER}/houses.csv", tmp_path)
    assert message == "${FOLDER}/houses.csv: no such file."
    (tmp_path / "s3cret-folder").mkdir()
    (tmp_path / "s3cret-folder" / "houses.csv").write_bytes(CSV)
    assert read("${FOLDER}/houses.csv", tmp_path).origin == "${FOLDER}/houses.csv"
