"""Where rows come from: one function from a URI to a raw table."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millrace.errors import UserError, unknown

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

DELIMITERS = {";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
FORMATS = (".csv", ".parquet")


@dataclass(frozen=True)
class Raw:
    """A table as it was found, or a data set still to be read, and where."""

    rows: "pa.Table | Dataset"
    origin: str

    @property
    def table(self) -> pa.Table:
        """All of it, in memory."""
        return self.rows if isinstance(self.rows, pa.Table) else self.rows.to_table()


def read(uri: str, cache: Path) -> Raw:
    """Read a table.

    Args:
        uri: `sample://housing` (our synthetic table), `sklearn://NAME`, or the path or fsspec URI of
            a .csv or .parquet file.
        cache: folder for data sets that scikit-learn downloads.

    Raises:
        UserError: nothing is there, or it is no table.
    """
    if uri.startswith("sample://"):
        return Raw(_read_sample(uri.removeprefix("sample://")), uri)
    if uri.startswith("sklearn://"):
        return Raw(_read_sklearn(uri.removeprefix("sklearn://"), cache), uri)
    if uri.lower().endswith(".parquet") and Path(uri).is_file():
        return Raw(_open_parquet(uri), uri)
    content = _fetch(uri)
    if uri.lower().endswith(".parquet"):
        return Raw(_read_parquet(content, uri), uri)
    return Raw(_read_csv(content, uri), uri)


def _read_sample(name: str) -> pa.Table:
    from millrace.sample import housing_sample

    if name != "housing":
        raise unknown("sample", name, ["housing"])
    return housing_sample()


def _read_sklearn(name: str, cache: Path) -> pa.Table:
    from urllib.error import URLError

    from sklearn import datasets

    loaders: dict[str, Any] = {
        "breast_cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
        "iris": datasets.load_iris,
        "wine": datasets.load_wine,
        "california_housing": lambda as_frame: datasets.fetch_california_housing(
            data_home=str(cache), as_frame=as_frame, n_retries=1
        ),
    }
    if name not in loaders:
        raise unknown("scikit-learn data set", name, loaders)
    try:
        with warnings.catch_warnings():
            # That it tries again is nothing to read; that it failed, the error says.
            warnings.simplefilter("ignore")
            data = loaders[name](as_frame=True)
    except (URLError, OSError) as error:
        raise UserError(
            f"The data set '{name}' cannot be downloaded ({getattr(error, 'reason', error)}). "
            "Pass a copy of it instead: --data PATH_OR_URI."
        ) from None
    frame = data.frame
    if hasattr(data, "target_names") and len(data.target_names) > 1:
        frame[data.target.name] = data.target_names[data.target.to_numpy()]
    return pa.Table.from_pandas(frame, preserve_index=False)


def _fetch(uri: str) -> bytes:
    """Read the file whole, after refusing what cannot be one."""
    if not uri.lower().endswith(FORMATS):
        raise UserError(f"{uri}: the file type is not known; name a {' or '.join(FORMATS)} file.")
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(uri)
        if filesystem.isdir(path):
            raise UserError(f"{uri}: is a directory; name one {' or '.join(FORMATS)} file in it.")
        content: bytes = filesystem.cat_file(path)
    except FileNotFoundError:
        raise UserError(f"{uri}: no such file.{_similar(uri)}") from None
    except ImportError as error:
        raise UserError(f"{uri}: reading it needs a package that is not installed: {error}.") from None
    except ValueError as error:
        raise UserError(f"{uri}: not a path or URI that can be read: {error}.") from None
    except OSError as error:
        raise UserError(f"{uri}: cannot be read: {error.strerror or error}.") from None
    if not content.strip():
        raise UserError(f"{uri}: the file is empty; it needs a header line and rows.")
    return content


def _similar(uri: str) -> str:
    from millrace.errors import nearest

    folder = Path(uri).parent
    names = [path.name for path in folder.iterdir()] if "://" not in uri and folder.is_dir() else []
    return nearest(Path(uri).name, names)


def _read_parquet(content: bytes, uri: str) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{uri}: is not a readable Parquet file: {_first_line(error)}.") from None


def _open_parquet(uri: str) -> "Dataset":
    from pyarrow import dataset

    if not Path(uri).stat().st_size:
        raise UserError(f"{uri}: the file is empty; it needs a header line and rows.")
    try:
        return dataset.dataset(uri, format="parquet")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{uri}: is not a readable Parquet file: {_first_line(error)}.") from None


def _read_csv(content: bytes, uri: str) -> pa.Table:
    """Read comma-separated UTF-8, every cell as text: a guess at the types would lose the zeros of 007."""
    _check_header(content, uri)
    from pyarrow import csv

    try:
        names = csv.open_csv(io.BytesIO(content)).schema.names
        text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
        return csv.read_csv(io.BytesIO(content), convert_options=text)
    except pa.ArrowInvalid as error:
        if "invalid UTF8" in str(error):
            raise _not_utf8(uri) from None
        message = _first_line(error).removeprefix("CSV parse error: ")
        raise UserError(f"{uri}: is not a well-formed CSV file: {message}.") from None


def _check_header(content: bytes, uri: str) -> None:
    if b"\0" in content[:1_000_000]:
        raise UserError(f"{uri}: is binary, not a CSV file.")
    if b"\n" not in content and b"\r" not in content:
        raise UserError(f"{uri}: has a header but no rows.")
    try:
        line = content.partition(b"\n")[0].decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _not_utf8(uri) from None
    for delimiter, meaning in DELIMITERS.items():
        if delimiter in line and "," not in line:
            raise UserError(
                f"{uri}: the columns seem to be separated by {meaning}; save the file with commas."
            )


def _not_utf8(uri: str) -> UserError:
    return UserError(f"{uri}: is not UTF-8 text; save the CSV file as UTF-8.")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
