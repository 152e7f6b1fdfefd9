"""scikit-learn estimators as skops files: no pickle, and the same bytes for the same estimator."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = "model.skops"
SCHEMA = "schema.json"
# What skops does not trust by itself among the types our models are made of.
TRUSTED = ["sklearn.tree._tree.Tree"]
EPOCH = (1980, 1, 1, 0, 0, 0)


def save(estimator: Any, folder: Path) -> None:
    """Write `estimator` into `folder`."""
    import skops.io

    (folder / FILE).write_bytes(_reproducible(skops.io.dumps(estimator)))


def load(folder: Path) -> Any:
    """Read an estimator back; a file that holds any other type than expected is refused by skops."""
    import skops.io

    return skops.io.load(folder / FILE, trusted=TRUSTED)


def _reproducible(archive: bytes) -> bytes:
    """Take out of a skops archive what differs from one process to the next.

    That is: memory addresses (skops names objects and files by them), the archive's time stamps,
    and the uninitialised padding inside scikit-learn's tree nodes.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        schema = source.read(SCHEMA).decode()
        addresses = re.findall(r'"__id__": (\d+)|"(\d+)\.npy"', schema)
        order = {address: str(i) for i, address in enumerate(dict.fromkeys(a or b for a, b in addresses))}
        schema = re.sub(r'"__id__": (\d+)', lambda m: f'"__id__": {order[m[1]]}', schema)
        schema = re.sub(r'"(\d+)\.npy"', lambda m: f'"{order[m[1]]}.npy"', schema)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
            arrays = [name for name in source.namelist() if name.endswith(".npy")]
            for name in sorted(arrays, key=lambda name: int(order[name.removesuffix(".npy")])):
                _write(out, f"{order[name.removesuffix('.npy')]}.npy", _without_padding(source.read(name)))
            _write(out, SCHEMA, schema.encode())
    return target.getvalue()


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
