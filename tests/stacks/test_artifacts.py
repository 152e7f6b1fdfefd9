"""Artifacts in an object store: their files go there whole, and come back only where nobody has them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from zenml.artifact_stores import BaseArtifactStore
from zenml.enums import StackComponentType
from zenml.integrations.s3.artifact_stores import S3ArtifactStore
from zenml.integrations.s3.flavors.s3_artifact_store_flavor import S3ArtifactStoreConfig

from millrace.large import StoredRows
from steps.materializers import FilesMaterializer, StoredRowsMaterializer
from steps.scratch import owned
from tests.millrace.cases import make_problem
from tests.stacks.servers import BUCKET, Servers

FILES = {"model.json": b"{}", "members/a/model.txt": b"tree\n" * 100_000, "members/b/model.txt": b""}


class FolderMaterializer(FilesMaterializer):
    """Files by their paths."""

    SKIP_REGISTRATION: ClassVar[bool] = True

    def write(self, data: dict[str, bytes], folder: Path) -> None:
        for name, content in data.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def read(self, folder: Path) -> dict[str, bytes]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def store(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseArtifactStore:
    """The bucket of the staging stack, as ZenML reaches it, for a process with a home of its own."""
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    keys = {name: servers.environment[f"MILLRACE_STAGING_S3_{name.upper()}"] for name in ("key", "secret")}
    endpoint = {"endpoint_url": servers.environment["MILLRACE_STAGING_S3_ENDPOINT"]}
    now = datetime.now(UTC)
    return S3ArtifactStore(
        name="bucket",
        id=uuid4(),
        config=S3ArtifactStoreConfig(path=f"s3://{BUCKET}/artifacts", client_kwargs=endpoint, **keys),
        flavor="s3",
        type=StackComponentType.ARTIFACT_STORE,
        user=None,
        created=now,
        updated=now,
    )


@pytest.fixture
def saved(store: BaseArtifactStore) -> FolderMaterializer:
    """An artifact that this process has made."""
    made = FolderMaterializer(f"{store.path}/{uuid4()}", store)
    made.save(FILES)
    return made


@pytest.fixture
def elsewhere(saved: FolderMaterializer) -> FolderMaterializer:
    """The same artifact for a process that has not made it."""
    owned.cache_clear()
    return FolderMaterializer(saved.uri, saved.artifact_store)


def test_the_files_are_objects_and_another_process_gets_them(
    servers: Servers, elsewhere: FolderMaterializer
) -> None:
    prefix = elsewhere.uri.removeprefix(f"s3://{BUCKET}/") + "/"
    objects = servers.s3().list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    sizes = {found["Key"].removeprefix(prefix): found["Size"] for found in objects}
    assert sizes == {name: len(content) for name, content in FILES.items()}
    assert elsewhere.load(dict) == FILES


def test_what_this_process_has_made_or_got_it_does_not_get_again(saved: FolderMaterializer) -> None:
    saved.artifact_store.rmtree(saved.uri)
    assert FolderMaterializer(saved.uri, saved.artifact_store).load(dict) == FILES


def test_a_transfer_that_broke_off_leaves_nothing_that_passes_for_the_artifact(
    elsewhere: FolderMaterializer, monkeypatch: pytest.MonkeyPatch
) -> None:
    get: Any = FilesMaterializer._get

    def breaks(self: FilesMaterializer, folder: Path, name: str) -> None:
        if name == "model.json":
            raise ConnectionError("the server is away")
        get(self, folder, name)

    with monkeypatch.context() as broken:
        broken.setattr(FilesMaterializer, "_get", breaks)
        with pytest.raises(ConnectionError):
            elsewhere.load(dict)
    assert elsewhere.load(dict) == FILES


def test_encoded_rows_are_kept_once_for_all_that_hold_the_same(
    store: BaseArtifactStore, servers: Servers, tmp_path: Path
) -> None:
    content = {"bins.bin": b"bins" * 10_000, "target.f64": bytes(80)}

    def made(number: int) -> StoredRowsMaterializer:
        folder = tmp_path / str(number) / "training"
        folder.mkdir(parents=True)
        for name, bytes_ in content.items():
            (folder / name).write_bytes(bytes_)
        materializer = StoredRowsMaterializer(f"{store.path}/{uuid4()}", store)
        materializer.save(StoredRows(folder, make_problem("regression"), 10, "digest"))
        assert not folder.parent.exists()
        return materializer

    def kept() -> dict[str, int]:
        objects = servers.s3().list_objects_v2(Bucket=BUCKET, Prefix="artifacts/rows/")["Contents"]
        return {found["Key"].rpartition("/")[2]: found["Size"] for found in objects}

    first, second = made(1), made(2)
    assert kept() == {"bins.bin": 40_000, "target.f64": 80, "whole": len("digest")}
    owned.cache_clear()
    for materializer in (first, second):
        rows = materializer.load(StoredRows)
        assert (rows.problem, rows.rows, rows.digest) == (make_problem("regression"), 10, "digest")
        assert {name: (rows.folder / name).read_bytes() for name in content} == content
