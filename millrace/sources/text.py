"""Text files: what they are compressed with and encoded in, found out from their content."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, Any

from millrace.errors import UserError

MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# No honest table is a gibibyte of almost nothing; a bomb stops here and not when memory is full.
LARGEST_BOMB = 2**30
HIGHEST_RATIO = 1000
CHUNK = 2**20
CONTROL = bytes(sorted(set(range(32)) - set(b"\t\n\v\f\r\x1b")))


@dataclass(frozen=True)
class Plain:
    """A file's decompressed bytes, the method, and in a zip file the name of the one file in it."""

    content: bytes
    compression: str | None = None
    name: str = ""


@dataclass(frozen=True)
class Text:
    """UTF-8 without a byte order mark, and how it was written: encoding, then compression."""

    utf8: bytes
    format: str


def decompress(content: bytes, origin: str) -> Plain:
    """Decompress what starts as a compressed file does.

    Raises:
        UserError: it is damaged, is a bomb, or is a zip file of several files.
    """
    method = next((name for magic, name in MAGIC.items() if content.startswith(magic)), None)
    if method is None:
        return Plain(content)
    name = ""
    try:
        if method == "zip":
            name, stream = _open_zip(content, origin)
        else:
            stream = _open(method, content)
        with stream:
            plain = _read_within_limit(stream, len(content), origin)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"{origin}: is not a readable {method} file: {_words(error)}.") from None
    if not plain.strip():
        raise UserError(f"{origin}: the file is empty; it needs a header line and rows.")
    return Plain(plain, method, name)


def decode(plain: Plain, named: str | None, origin: str, kind: str) -> Text:
    """Bring text to UTF-8, from the encoding that the user named or the one it seems to be in.

    `kind` is what messages call the file.

    Raises:
        UserError: binary, damaged, or in an encoding that cannot be told.
    """
    content = plain.content
    encoding = named or _encoding(content, origin, kind)
    if encoding in ("utf-8", "utf-8-sig"):
        content = content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode("utf-8" if encoding == "utf-8-sig" else encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{origin}: line {line} is not {encoding} text; save the {kind} as UTF-8.") from None
    utf8 = content if encoding in ("utf-8", "utf-8-sig") else text.encode()
    if b"\0" in utf8:
        line = utf8.count(b"\n", 0, utf8.index(b"\0")) + 1
        raise UserError(f"{origin}: line {line} holds a NUL byte, so the {kind} is damaged or binary.")
    marked = {"utf-8-sig": "utf-8 with a byte order mark"}.get(encoding, encoding)
    return Text(utf8, ", ".join(part for part in (marked, plain.compression) if part))


def _encoding(content: bytes, origin: str, kind: str) -> str:
    """What the byte order mark says; without one UTF-8 if it can be, else a western encoding.

    Others look too much alike to be told apart from a few names.
    """
    encoding = next((name for mark, name in BOMS.items() if content.startswith(mark)), None)
    encoding = encoding or _utf16_without_mark(content) or "utf-8"
    if encoding == "utf-8" and _share_of_control(content[:65_536]) > 0.01:
        raise UserError(f"{origin}: is binary, not a {kind}.")
    if encoding == "utf-8" and not content.isascii():
        try:
            content.decode()
        except UnicodeDecodeError:
            return _western(content, origin, kind)
    return encoding


def refuse_bomb(size: int, compressed: int, origin: str) -> None:
    """Refuse what unpacks to more than any table would.

    Raises:
        UserError: more than 1 GiB from a thousandth of that.
    """
    if size > LARGEST_BOMB and size > HIGHEST_RATIO * compressed:
        raise UserError(
            f"{origin}: unpacks to over {LARGEST_BOMB / 2**30:.0f} GiB from {compressed / 2**20:.1f} MiB, "
            "like a decompression bomb; unpack it yourself if it is a table."
        )


def _open(method: str, content: bytes) -> IO[bytes]:
    file = io.BytesIO(content)
    if method == "zstd":
        import pyarrow as pa

        stream: Any = pa.CompressedInputStream(pa.py_buffer(content), "zstd")
        return stream  # type: ignore[no-any-return]
    openers: dict[str, Any] = {"gzip": gzip.GzipFile, "bzip2": bz2.BZ2File, "xz": lzma.LZMAFile}
    opened: IO[bytes] = openers[method](fileobj=file) if method == "gzip" else openers[method](file)
    return opened


def _open_zip(content: bytes, origin: str) -> tuple[str, IO[bytes]]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir() and not member.filename.startswith("__MACOSX/")
    ]
    if len(members) != 1:
        raise UserError(f"{origin}: the zip file holds {len(members)} files; it must hold one table.")
    if members[0].flag_bits & 1:
        raise UserError(f"{origin}: the zip file is encrypted; unpack it first.")
    return members[0].filename, archive.open(members[0])


def _read_within_limit(stream: IO[bytes], compressed: int, origin: str) -> bytes:
    plain = io.BytesIO()
    while chunk := stream.read(CHUNK):
        plain.write(chunk)
        refuse_bomb(plain.tell(), compressed, origin)
    return plain.getvalue()


def _words(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else "it ends too early"


def _utf16_without_mark(content: bytes) -> str | None:
    """Western text in UTF-16 has a NUL in every other byte."""
    head = content[:4096]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) < 0.3 * len(head) / 2 or min(even, odd) > 0.02 * len(head):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _share_of_control(head: bytes) -> float:
    return 1 - len(head.translate(None, CONTROL)) / len(head)


def _western(content: bytes, origin: str, kind: str) -> str:
    from charset_normalizer import from_bytes

    # The lines that tell; they may be far down.
    telling = b"\n".join(
        match[0]
        for match, _ in zip(re.finditer(rb"[^\n]*[\x80-\xff][^\n]*", content), range(500), strict=False)
    )
    best = from_bytes(telling, cp_isolation=["cp1252", "latin_1"]).best()
    if best is None:
        raise UserError(f"{origin}: is not UTF-8 text; save the {kind} as UTF-8.")
    # charset-normalizer calls latin_1 what has bytes that cp1252 leaves undefined.
    return {"latin_1": "latin-1"}.get(best.encoding, best.encoding)
