"""How artifacts are stored: Parquet for tables, plain files for models and bundles, PNG for plots.

ZenML's own choices would be gzip Parquet with full statistics for tables and cloudpickle for the rest.
Each materializer gives a content hash, so the cache follows what is in an artifact and not which run
made it.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from zenml.enums import ArtifactType, VisualizationType
from zenml.io import fileio
from zenml.materializers.base_materializer import BaseMaterializer
from zenml.utils import io_utils

from millrace.bundle import CARD, Bundle, FittedModel, load_bundle, verify
from millrace.contract import parse_problem
from millrace.digests import table_digest
from millrace.large import StoredRows
from steps.caching import code_digest

TABLE, ROWS = "table.parquet", "rows.json"
# Bytes that are copied at once.
COPIED = 16 * 2**20
# Rows of a table that the dashboard shows.
SHOWN_ROWS = 100


class Plots(dict[str, bytes]):
    """PNG images by name."""


class TableMaterializer(BaseMaterializer):
    """DataFrames as zstd Parquet."""

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (pd.DataFrame,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA
    # ZenML asks for it twice, and makes one materializer an artifact.
    digest: str | None = None

    def save(self, data: pd.DataFrame) -> None:
        with self.artifact_store.open(f"{self.uri}/{TABLE}", "wb") as file:
            data.to_parquet(file, compression="zstd", index=False)

    def load(self, data_type: type[Any]) -> pd.DataFrame:  # noqa: ARG002
        with self.artifact_store.open(f"{self.uri}/{TABLE}", "rb") as file:
            return pd.read_parquet(file)

    def compute_content_hash(self, data: pd.DataFrame) -> str:
        self.digest = self.digest or table_digest(data)
        return self.digest

    def extract_metadata(self, data: pd.DataFrame) -> dict[str, Any]:
        return {"rows": len(data), "columns": len(data.columns), "digest": self.compute_content_hash(data)}


class ShownTableMaterializer(TableMaterializer):
    """DataFrames that a person opens: the dashboard shows their first rows."""

    SKIP_REGISTRATION: ClassVar[bool] = True

    def save_visualizations(self, data: pd.DataFrame) -> dict[str, VisualizationType]:
        if data.empty:
            return {}
        path = f"{self.uri}/first_rows.csv"
        with self.artifact_store.open(path, "w") as file:
            data.head(SHOWN_ROWS).to_csv(file, index=False)
        return {path: VisualizationType.CSV}


class PlotsMaterializer(BaseMaterializer):
    """PNG files, shown by the dashboard."""

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (Plots,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def save(self, data: Plots) -> None:
        for name, png in data.items():
            with self.artifact_store.open(f"{self.uri}/{name}.png", "wb") as file:
                file.write(png)

    def load(self, data_type: type[Any]) -> Plots:  # noqa: ARG002
        plots = Plots()
        for name in sorted(str(entry) for entry in self.artifact_store.listdir(self.uri)):
            with self.artifact_store.open(f"{self.uri}/{name}", "rb") as file:
                plots[name.removesuffix(".png")] = file.read()
        return plots

    def save_visualizations(self, data: Plots) -> dict[str, VisualizationType]:
        return {f"{self.uri}/{name}.png": VisualizationType.IMAGE for name in data}

    def compute_content_hash(self, data: Plots) -> str:
        digest = hashlib.sha256()
        for name, png in sorted(data.items()):
            digest.update(f"{name}\0{len(png)}\0".encode() + png)
        return digest.hexdigest()


class StoredRowsMaterializer(BaseMaterializer):
    """Encoded rows as the files they are in, once for all runs that read the same.

    They are as large as the table, so they are kept by what they hold beside the artifacts, and an artifact
    says where. Saving takes the files: whoever made them is done with them.
    """

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (StoredRows,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def save(self, data: StoredRows) -> None:
        name = hashlib.sha256(f"{data.digest} {code_digest()}".encode()).hexdigest()
        root = f"{self.artifact_store.path}/rows"
        kept = f"{root}/{name}"
        files = [path.name for path in sorted(data.folder.iterdir())]
        (data.folder / ROWS).write_text(json.dumps(files))
        self.artifact_store.makedirs(root)
        if not self.artifact_store.exists(f"{kept}/{ROWS}") and not _moved(data.folder, kept):
            self.artifact_store.makedirs(kept)
            # The list is written last: without it, the others may be a part of what they should be.
            for file in (*files, ROWS):
                self._copy(str(data.folder / file), f"{kept}/{file}")
        about = {
            "kept": kept,
            "problem": data.problem.model_dump(mode="json"),
            "rows": data.rows,
            "digest": data.digest,
        }
        with self.artifact_store.open(f"{self.uri}/{ROWS}", "w") as written:
            written.write(json.dumps(about))
        shutil.rmtree(data.folder.parent)

    def load(self, data_type: type[Any]) -> StoredRows:  # noqa: ARG002
        with self.artifact_store.open(f"{self.uri}/{ROWS}", "r") as file:
            about = json.loads(file.read())
        kept, folder = about["kept"], Path(about["kept"])
        if not folder.is_dir():
            with self.get_temporary_directory(delete_at_exit=False) as copied:
                folder = Path(copied)
            self._copy(f"{kept}/{ROWS}", str(folder / ROWS))
            for name in json.loads((folder / ROWS).read_text()):
                self._copy(f"{kept}/{name}", str(folder / name))
        return StoredRows(folder, parse_problem(about["problem"]), about["rows"], about["digest"])

    def _copy(self, source: str, target: str) -> None:
        with fileio.open(source, "rb") as read, fileio.open(target, "wb") as written:
            shutil.copyfileobj(read, written, COPIED)

    def compute_content_hash(self, data: StoredRows) -> str:
        return data.digest

    def extract_metadata(self, data: StoredRows) -> dict[str, Any]:
        return {"rows": data.rows, "digest": data.digest}


def _moved(folder: Path, to: str) -> bool:
    """Move a folder whole, where that is possible: on one file system, if nobody was quicker."""
    try:
        folder.rename(to)
    except OSError:
        return False
    return True


class FittedModelMaterializer(BaseMaterializer):
    """A fitted model as the plain files its bundle will hold."""

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (FittedModel,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL

    def save(self, data: FittedModel) -> None:
        with self.get_temporary_directory(delete_at_exit=True) as folder:
            data.save(Path(folder))
            io_utils.copy_dir(folder, self.uri)

    def load(self, data_type: type[Any]) -> FittedModel:  # noqa: ARG002
        with self.get_temporary_directory(delete_at_exit=True) as folder:
            io_utils.copy_dir(self.uri, folder, overwrite=True)
            return FittedModel.load(Path(folder))


class BundleMaterializer(BaseMaterializer):
    """The bundle's folder, byte for byte."""

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (Bundle,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL

    def save(self, data: Bundle) -> None:
        verify(data.folder)
        io_utils.copy_dir(str(data.folder), self.uri)

    def load(self, data_type: type[Any]) -> Bundle:  # noqa: ARG002
        with self.get_temporary_directory(delete_at_exit=False) as folder:
            io_utils.copy_dir(self.uri, folder)
            return load_bundle(Path(folder))

    def save_visualizations(self, data: Bundle) -> dict[str, VisualizationType]:  # noqa: ARG002
        return {f"{self.uri}/{CARD}": VisualizationType.HTML}

    def compute_content_hash(self, data: Bundle) -> str:
        return data.digest

    def extract_metadata(self, data: Bundle) -> dict[str, Any]:
        return {"digest": data.digest}
