"""Files and folders, here or on any file system that fsspec reaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from millrace.errors import UserError, nearest
from millrace.sources.source import Source
from millrace.sources.wanted import Found, Wanted

TEXT = (".csv", ".tsv", ".txt")
JSON = (".jsonl", ".ndjson")
COLUMNAR = (".parquet", ".arrow", ".feather")
EXCEL = ".xlsx"
FORMATS = (*TEXT, *COLUMNAR, *JSON, EXCEL)
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
# An unreachable host is to be reported in seconds, not after the drivers' five patient retries.
S3_PATIENCE = {"connect_timeout": 10, "retries": {"max_attempts": 2}}


@dataclass(frozen=True)
class Place:
    """A path in an fsspec file system, and what messages call it."""

    filesystem: Any
    path: str
    origin: str

    @property
    def remote_http(self) -> bool:
        """Whether this is a web server, which lists no folders and may not serve parts of a file."""
        return not {"http", "https"}.isdisjoint(self._protocols)

    @property
    def local(self) -> bool:
        """Whether this is a file of this machine."""
        return "file" in self._protocols

    @property
    def _protocols(self) -> tuple[str, ...]:
        protocol = self.filesystem.protocol
        return (protocol,) if isinstance(protocol, str) else tuple(protocol)

    def content(self) -> bytes:
        """The file whole.

        Raises:
            UserError: it cannot be read, or is empty.
        """
        with self.reading():
            content: bytes = self.filesystem.cat_file(self.path)
        if not content.strip():
            raise UserError(f"{self.origin}: the file is empty; it needs a header line and rows.")
        return content

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what file systems raise into one sentence; each has exceptions of its own."""
        try:
            yield
        except UserError:
            raise
        except FileNotFoundError as error:
            bucket = f" ({str(error).rstrip('.')})" if "bucket" in str(error) else ""
            raise UserError(f"{self.origin}: no such file{bucket}.{self._similar()}") from None
        except Exception as error:
            raise UserError(f"{self.origin}: cannot be read: {reason(error)}.") from None

    def _similar(self) -> str:
        if self.remote_http:
            return ""
        folder, _, name = self.path.rpartition("/")
        names: list[str] = []
        # That the folder cannot be listed either adds nothing.
        with suppress(Exception):
            names = [path.rstrip("/").rpartition("/")[2] for path in self.filesystem.ls(folder, detail=False)]
        return nearest(name, names)


def reason(error: BaseException) -> str:
    """An error's first line without the full stop, or its type's name if it has no text."""
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return str(text).splitlines()[0].rstrip(".")


def is_file_uri(uri: str) -> bool:
    """Whether fsspec and not a database is to read a URI."""
    if "://" not in uri:
        return True
    from fsspec.registry import known_implementations, registry

    protocol = uri.partition("://")[0].partition("::")[0]
    return protocol in known_implementations or protocol in registry


def read(uri: str, endpoint: str, source: Source, wanted: Wanted) -> Found:
    """Read the file or folder at a path or fsspec URI; `endpoint` is for stores that speak S3."""
    place, sheet = find(uri, endpoint, source)
    return read_place(place, sheet, source.encoding, wanted)


def find(uri: str, endpoint: str, source: Source) -> tuple[Place, str]:
    """Where a path or fsspec URI leads, and the sheet that is meant; nothing is looked at yet.

    Raises:
        UserError: it is no URI, or a package is missing that it needs.
    """
    sheet = source.sheet
    path, fragment = uri, ""
    if "#" in uri and uri.partition("#")[0].lower().endswith(EXCEL):
        path, _, fragment = uri.partition("#")
    if source.query is not None:
        raise UserError(f"{source.origin}: 'query' is for databases, not for files.")
    if endpoint and not uri.startswith(("s3://", "s3a://")):
        raise UserError(f"{source.origin}: 'endpoint' is for s3:// URIs.")
    import fsspec

    options: dict[str, Any] = {}
    if path.startswith(("s3://", "s3a://")):
        options = {"config_kwargs": S3_PATIENCE, "use_listings_cache": False}
        options |= {"endpoint_url": endpoint} if endpoint else {}
    try:
        urlsplit(path)
        filesystem, inside = fsspec.core.url_to_fs(path, **options)
    except ImportError as error:
        raise UserError(
            f"{source.origin}: reading it needs a package that is not installed: {reason(error)}."
        ) from None
    except (ValueError, OSError) as error:
        raise UserError(f"{source.origin}: not a path or URI that can be read: {reason(error)}.") from None
    return Place(filesystem, inside, source.origin), sheet or fragment


def read_place(place: Place, sheet: str, encoding: str | None, wanted: Wanted) -> Found:
    """Read a file by its name's ending, or a folder of Parquet or Arrow files.

    Raises:
        UserError: nothing is there, the ending is not known, or the content is not what the ending says.
    """
    path = urlsplit(place.path).path if place.remote_http else place.path
    suffix = suffix_of(path)
    if sheet and suffix != EXCEL:
        raise UserError(f"{place.origin}: 'sheet' is for {EXCEL} files.")
    if encoding and suffix not in (*TEXT, *JSON, ".zip"):
        raise UserError(f"{place.origin}: 'encoding' is for files of text.")
    if not place.remote_http:
        with place.reading():
            folder = place.filesystem.isdir(place.path)
            odd = place.local and not folder and Path(place.path).exists() and not Path(place.path).is_file()
        if folder:
            return _read_folder(place, wanted)
        if odd:
            raise UserError(
                f"{place.origin}: is not a file but a pipe or a device; write it to a file first."
            )
    if suffix in COLUMNAR:
        from millrace.sources import columnar

        return columnar.read_file(place, suffix, wanted)
    if suffix == EXCEL:
        from millrace.sources import excel

        return excel.read(place.content(), place.origin, sheet, wanted)
    if suffix in (*TEXT, *JSON, ".zip"):
        return _read_text(place, suffix, encoding, wanted)
    known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    raise UserError(f"{place.origin}: the file type is not known; name a {known} file.")


def suffix_of(path: str) -> str:
    """The ending that says what a file holds; `.zip` if only the file in it says so."""
    name = PurePosixPath(path.lower())
    if name.suffix in COMPRESSED:
        inner = name.with_suffix("").suffix
        return inner if inner in (*TEXT, *JSON) else name.suffix
    return name.suffix


def _read_text(place: Place, suffix: str, encoding: str | None, wanted: Wanted) -> Found:
    from millrace.sources import delimited, json_lines, text

    plain = text.decompress(place.content(), place.origin)
    if suffix == ".zip":
        suffix = suffix_of(plain.name)
        if suffix not in (*TEXT, *JSON):
            raise UserError(f"{place.origin}: holds '{plain.name}', which is no table of text.")
    if suffix in JSON:
        decoded = text.decode(plain, encoding, place.origin, json_lines.KIND)
        return json_lines.read(decoded, place.origin, wanted)
    return delimited.read(text.decode(plain, encoding, place.origin, delimited.KIND), place.origin, wanted)


def _read_folder(place: Place, wanted: Wanted) -> Found:
    from millrace.sources import columnar

    # fsspec does not follow links to folders, so a link that leads back up is no endless walk.
    with place.reading():
        paths = sorted(place.filesystem.find(place.path))
    inside = {path: path.removeprefix(place.path).strip("/").split("/") for path in paths}
    # As Spark and Arrow do: what starts with _ or . is bookkeeping, not data.
    shown = [path for path, parts in inside.items() if not any(part.startswith(("_", ".")) for part in parts)]
    suffixes = {suffix_of(path) for path in shown} & set(COLUMNAR)
    if not suffixes:
        known = f"{', '.join(COLUMNAR[:-1])} or {COLUMNAR[-1]}"
        raise UserError(f"{place.origin}: is a directory with no {known} file in it; name one file.")
    if len(suffixes) > 1:
        raise UserError(
            f"{place.origin}: is a directory with {' and '.join(sorted(suffixes))} files; keep one kind."
        )
    (suffix,) = suffixes
    return columnar.read_folder(place, [path for path in shown if suffix_of(path) == suffix], suffix, wanted)
