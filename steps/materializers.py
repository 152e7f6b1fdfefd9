"""How artifacts are stored: Parquet for tables, plain files for models and bundles, PNG for plots.

ZenML's own choices would be gzip Parquet with full statistics for tables and cloudpickle for the rest.
Each materializer gives a content hash, so the cache follows what is in an artifact and not which run
made it.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from zenml.enums import ArtifactType, VisualizationType
from zenml.materializers.base_materializer import BaseMaterializer

from millrace.bundle import CARD, Bundle, FittedModel, copy_bundle, load_bundle, read_json, write_json
from millrace.contract import parse_problem
from millrace.digests import table_digest
from millrace.large import StoredRows
from steps.caching import code_digest
from steps.scratch import scratch

TABLE = "table.parquet"
FIRST_ROWS = "first_rows.csv"
ROWS, WHOLE = "rows.json", "whole"
# Rows of a table that the dashboard shows.
SHOWN_ROWS = 100
# Files that are on their way to or from an object store at the same time.
TRANSFERS = 8


class Plots(dict[str, bytes]):
    """PNG images by name."""


class FilesMaterializer(BaseMaterializer):
    """Artifacts that are a folder of files; how they are written and read, subclasses say.

    What comes from or goes to an object store is kept on this machine until the process ends: a step that
    runs in the same process does not fetch what an earlier one has made.
    """

    SKIP_REGISTRATION: ClassVar[bool] = True

    def write(self, data: Any, folder: Path) -> None:
        """Write the artifact's files into a folder."""
        raise NotImplementedError

    def read(self, folder: Path) -> Any:
        """Make the artifact of its files, which stay where they are."""
        raise NotImplementedError

    def save(self, data: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write(data, self.folder)
        if self.remote:
            here = [path for path in self.folder.rglob("*") if path.is_file()]
            self._transfer(self._put, self.folder, [str(path.relative_to(self.folder)) for path in here])

    def load(self, data_type: type[Any]) -> Any:  # noqa: ARG002
        if self.remote and not self.folder.exists():
            coming = Path(tempfile.mkdtemp(dir=scratch()))
            there = self.artifact_store.walk(self.uri)
            files = [f"{inside}/{name}" for inside, _, names in there for name in names]
            self._transfer(self._get, coming, [path.removeprefix(f"{self.uri}/") for path in files])
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            coming.rename(self.folder)
        return self.read(self.folder)

    @property
    def remote(self) -> bool:
        """Whether the artifact store is no folder of this machine."""
        return "://" in self.uri

    @property
    def folder(self) -> Path:
        """The artifact's files on this machine: itself, or the copy of it."""
        return scratch() / self.uri.partition("://")[2] if self.remote else Path(self.uri)

    def _transfer(self, one: Callable[[Path, str], None], folder: Path, names: list[str]) -> None:
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(partial(one, folder), names))

    def _put(self, folder: Path, name: str) -> None:
        with (
            (folder / name).open("rb") as here,
            self.artifact_store.open(f"{self.uri}/{name}", "wb") as there,
        ):
            shutil.copyfileobj(here, there)

    def _get(self, folder: Path, name: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (
            self.artifact_store.open(f"{self.uri}/{name}", "rb") as there,
            (folder / name).open("wb") as here,
        ):
            shutil.copyfileobj(there, here)


class TableMaterializer(FilesMaterializer):
    """DataFrames as zstd Parquet."""

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (pd.DataFrame,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA
    # ZenML asks for it twice, and makes one materializer an artifact.
    digest: str | None = None

    def write(self, data: pd.DataFrame, folder: Path) -> None:
        data.to_parquet(folder / TABLE, compression="zstd", index=False)

    def read(self, folder: Path) -> pd.DataFrame:
        return pd.read_parquet(folder / TABLE)

    def compute_content_hash(self, data: pd.DataFrame) -> str:
        self.digest = self.digest or table_digest(data)
        return self.digest

    def extract_metadata(self, data: pd.DataFrame) -> dict[str, Any]:
        return {"rows": len(data), "columns": len(data.columns), "digest": self.compute_content_hash(data)}


class ShownTableMaterializer(TableMaterializer):
    """DataFrames that a person opens: the dashboard shows their first rows."""

    SKIP_REGISTRATION: ClassVar[bool] = True

    def write(self, data: pd.DataFrame, folder: Path) -> None:
        super().write(data, folder)
        if not data.empty:
            data.head(SHOWN_ROWS).to_csv(folder / FIRST_ROWS, index=False)

    def save_visualizations(self, data: pd.DataFrame) -> dict[str, VisualizationType]:
        return {} if data.empty else {f"{self.uri}/{FIRST_ROWS}": VisualizationType.CSV}


class PlotsMaterializer(FilesMaterializer):
    """PNG files, shown by the dashboard."""

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (Plots,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def write(self, data: Plots, folder: Path) -> None:
        for name, png in data.items():
            (folder / f"{name}.png").write_bytes(png)

    def read(self, folder: Path) -> Plots:
        return Plots({path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))})

    def save_visualizations(self, data: Plots) -> dict[str, VisualizationType]:
        return {f"{self.uri}/{name}.png": VisualizationType.IMAGE for name in data}

    def compute_content_hash(self, data: Plots) -> str:
        digest = hashlib.sha256()
        for name, png in sorted(data.items()):
            digest.update(f"{name}\0{len(png)}\0".encode() + png)
        return digest.hexdigest()


class KeptRows(FilesMaterializer):
    """Encoded rows beside the artifacts, by what they hold; to write them takes the files away."""

    SKIP_REGISTRATION: ClassVar[bool] = True

    def write(self, data: StoredRows, folder: Path) -> None:
        for path in data.folder.iterdir():
            shutil.move(path, folder / path.name)

    def read(self, folder: Path) -> Path:
        return folder


class StoredRowsMaterializer(FilesMaterializer):
    """Encoded rows, which are as large as the table: kept once for all runs that read the same.

    The artifact says where. Whoever has made the rows has their files no more.
    """

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (StoredRows,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def save(self, data: StoredRows) -> None:
        kept = KeptRows(self._place(data), self.artifact_store)
        # Written last: without it, the others may be a part of what they should be.
        whole = f"{kept.uri}/{WHOLE}"
        if not self.artifact_store.exists(whole):
            kept.save(data)
            with self.artifact_store.open(whole, "w") as file:
                file.write(data.digest)
        shutil.rmtree(data.folder.parent)
        super().save(data)

    def write(self, data: StoredRows, folder: Path) -> None:
        about = {
            "kept": self._place(data),
            "problem": data.problem.model_dump(mode="json"),
            "rows": data.rows,
            "digest": data.digest,
        }
        write_json(folder / ROWS, about)

    def read(self, folder: Path) -> StoredRows:
        about = read_json(folder / ROWS)
        kept = KeptRows(about["kept"], self.artifact_store).load(Path)
        return StoredRows(kept, parse_problem(about["problem"]), about["rows"], about["digest"])

    def _place(self, data: StoredRows) -> str:
        # Other code may bin the same rows otherwise.
        name = hashlib.sha256(f"{data.digest} {code_digest()}".encode()).hexdigest()
        return f"{self.artifact_store.path}/rows/{name}"

    def compute_content_hash(self, data: StoredRows) -> str:
        return data.digest

    def extract_metadata(self, data: StoredRows) -> dict[str, Any]:
        return {"rows": data.rows, "digest": data.digest}


class FittedModelMaterializer(FilesMaterializer):
    """A fitted model as the plain files its bundle will hold."""

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (FittedModel,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL

    def write(self, data: FittedModel, folder: Path) -> None:
        data.save(folder)

    def read(self, folder: Path) -> FittedModel:
        return FittedModel.load(folder)


class BundleMaterializer(FilesMaterializer):
    """The bundle's folder, byte for byte."""

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (Bundle,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL

    def write(self, data: Bundle, folder: Path) -> None:
        copy_bundle(data.folder, folder)

    def read(self, folder: Path) -> Bundle:
        return load_bundle(folder)

    def save_visualizations(self, data: Bundle) -> dict[str, VisualizationType]:  # noqa: ARG002
        return {f"{self.uri}/{CARD}": VisualizationType.HTML}

    def compute_content_hash(self, data: Bundle) -> str:
        return data.digest

    def extract_metadata(self, data: Bundle) -> dict[str, Any]:
        return {"digest": data.digest}
