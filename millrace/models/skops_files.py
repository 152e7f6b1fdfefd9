"""scikit-learn estimators as skops files: no pickle, and the same bytes for the same estimator."""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = "model.skops"
SCHEMA = "schema.json"
EPOCH = (1980, 1, 1, 0, 0, 0)


def save(estimator: Any, folder: Path) -> None:
    """Write `estimator` into `folder`."""
    import skops.io

    (folder / FILE).write_bytes(_reproducible(skops.io.dumps(estimator)))


def load(folder: Path, trusted: Sequence[str] = ()) -> Any:
    """Read an estimator back; a type that skops does not trust by itself, nor by `trusted`, is refused."""
    import skops.io

    return skops.io.load(folder / FILE, trusted=list(trusted))


def _reproducible(archive: bytes) -> bytes:
    """Take out of a skops archive what differs from one process to the next.

    That is: memory addresses (skops names objects and files by them, so small constants that happen
    to be one object share a name), the archive's time stamps, and the uninitialised padding inside
    scikit-learn's tree nodes. Objects are numbered by their place; those with the same file stay one.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        schema = json.loads(source.read(SCHEMA))
        places: dict[str, int] = {}
        for place, node in enumerate(_nodes(schema)):
            node["__id__"] = place
            if "file" in node:
                node["__id__"] = places.setdefault(node["file"], place)
                node["file"] = f"{node['__id__']}.npy"
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
            for name, place in places.items():
                _write(out, f"{place}.npy", _without_padding(source.read(name)))
            _write(out, SCHEMA, json.dumps(schema, indent=2).encode())
    return target.getvalue()


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """The objects that skops numbers, in the schema's own order."""
    if isinstance(value, dict) and "__id__" in value:
        yield value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _nodes(part)


def _without_padding(content: bytes) -> bytes:
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=EPOCH)
    entry.compress_type = archive.compression
    archive.writestr(entry, content, compresslevel=1)
