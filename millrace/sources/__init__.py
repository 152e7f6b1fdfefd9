"""Where rows come from: one function from a source to a raw table, one module a kind of source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.errors import UserError
from millrace.sources.credentials import Credentials, SecretReader
from millrace.sources.source import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.contract import Column
    from millrace.sources.wanted import Found, Wanted

__all__ = ["Raw", "Source", "read"]


@dataclass(frozen=True)
class Raw:
    """A table as it was found, and where.

    `names` are all columns of the source, also those that were not wanted; `format` says in words how it
    was read; `revision` pins a file under DVC: its `rev`, `commit` and `md5`.
    """

    table: pa.Table
    origin: str
    names: list[str]
    format: str
    revision: dict[str, str] = field(default_factory=dict)


def read(
    source: Source | str,
    cache: Path,
    columns: Mapping[str, Column] | None = None,
    read_secret: SecretReader | None = None,
) -> Raw:
    """Read a table.

    Args:
        source: a `Source` or a URI: `sample://housing`, `sklearn://NAME`, the path or fsspec URI of a file or
            folder, `DATABASE_URL#TABLE_OR_SELECT`, or `dvc://REPOSITORY?path=FILE&rev=REVISION`.
        cache: folder for data sets that scikit-learn downloads.
        columns: read no others; None for all. If one of them is missing or there twice, all are read, so
            that whoever checks the names can say what there is.
        read_secret: gives the value of a secret's key, for `{{secret.key}}`.

    Raises:
        UserError: nothing is there, or it is no table. No sentence holds what a placeholder stands for.
    """
    from millrace.sources.wanted import Wanted

    source = Source.model_validate(source) if isinstance(source, str) else source
    credentials = Credentials(read_secret)
    try:
        found, revision = _find(source, cache, Wanted(columns, source.where, source.origin), credentials)
    except UserError as error:
        raise UserError(credentials.hide(str(error))) from None
    if source.where and not found.table.num_rows:
        raise UserError(f"{source.origin}: no row fulfils 'where'.")
    return Raw(found.table, source.origin, found.names, found.format, revision)


def _find(
    source: Source, cache: Path, wanted: Wanted, credentials: Credentials
) -> tuple[Found, dict[str, str]]:
    if source.repo is not None:
        from millrace.sources import versioned

        return versioned.read(credentials.fill(source.repo), source, wanted)
    uri = credentials.fill(source.uri or "")
    if uri.startswith(("sample://", "sklearn://")):
        from millrace.sources import builtin

        return builtin.read(uri, cache, wanted), {}
    from millrace.sources import database, files

    if files.is_file_uri(uri):
        endpoint = credentials.fill(source.endpoint or "")
        return files.read(uri, endpoint, source, wanted), {}
    return database.read(uri, source, wanted), {}
