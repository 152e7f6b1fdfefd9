"""Port-forwarding as Kubernetes' API server does it for kubectl: TCP connections as streams of SPDY/3.1."""

import socket
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

SYN_STREAM, SYN_REPLY, RST_STREAM, PING = 1, 2, 3, 6
FIN = 1
# What both sides' compression begins with: text of this length, and its checksum.
DICTIONARY_BEGIN, DICTIONARY_LENGTH, DICTIONARY_SUM = b"\x00\x00\x00\x07options", 1423, 0xE3C6A7C2


@cache
def dictionary(kubectl: Path) -> bytes:
    """SPDY's dictionary, as the kubectl that is spoken with has it."""
    program = kubectl.read_bytes()
    begin = program.index(DICTIONARY_BEGIN)
    found = program[begin : begin + DICTIONARY_LENGTH]
    assert zlib.adler32(found) == DICTIONARY_SUM
    return found


class Forwarding:
    """One upgraded connection; each of its streams of data becomes a connection by `connect`."""

    def __init__(
        self, reading: BinaryIO, writing: socket.socket, words: bytes, connect: Callable[[], socket.socket]
    ) -> None:
        """`reading` and `writing` are the connection after its upgrade."""
        self._reading, self._writing, self._connect = reading, writing, connect
        self._unpack = zlib.decompressobj(zdict=words)
        self._pack = zlib.compressobj(zdict=words)
        self._lock = threading.Lock()
        self._data: dict[int, socket.socket] = {}
        self._errors: dict[bytes, int] = {}

    def run(self) -> None:
        """Until the other side ends it."""
        try:
            while len(head := self._reading.read(8)) == 8:
                first, rest = struct.unpack(">II", head)
                flags, body = rest >> 24, self._reading.read(rest & 0xFFFFFF)
                if first >> 31:
                    self._control(first & 0xFFFF, head, body)
                else:
                    self._receive(first, flags, body)
        finally:
            for connection in self._data.values():
                connection.close()

    def _control(self, kind: int, head: bytes, body: bytes) -> None:
        if kind == SYN_STREAM:
            self._open(struct.unpack(">I", body[:4])[0], self._headers(body[10:]))
        elif kind == PING:
            self._send(head + body)
        elif kind == RST_STREAM:
            connection = self._data.pop(struct.unpack(">I", body[:4])[0], None)
            if connection:
                connection.close()

    def _headers(self, packed: bytes) -> dict[bytes, bytes]:
        block = self._unpack.decompress(packed)
        (count,), texts, at = struct.unpack(">I", block[:4]), [], 4
        for _ in range(2 * count):
            (length,) = struct.unpack(">I", block[at : at + 4])
            texts.append(block[at + 4 : at + 4 + length])
            at += 4 + length
        return dict(zip(texts[::2], texts[1::2], strict=True))

    def _open(self, stream: int, headers: dict[bytes, bytes]) -> None:
        with self._lock:
            block = self._pack.compress(struct.pack(">I", 0)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
            body = struct.pack(">I", stream) + block
            self._writing.sendall(struct.pack(">HHI", 0x8003, SYN_REPLY, len(body)) + body)
        request = headers[b"requestid"]
        if headers[b"streamtype"] == b"error":
            self._errors[request] = stream
            return
        error = self._errors.pop(request)
        try:
            connection = self._data[stream] = self._connect()
        except OSError as refused:
            self._frame(error, str(refused).encode(), FIN)
            self._frame(stream, b"", FIN)
            return
        threading.Thread(target=self._relay, args=(connection, stream, error), daemon=True).start()

    def _receive(self, stream: int, flags: int, body: bytes) -> None:
        connection = self._data.get(stream)
        # It may have been closed on the other side.
        with suppress(OSError):
            if connection and body:
                connection.sendall(body)
            if connection and flags & FIN:
                connection.shutdown(socket.SHUT_WR)

    def _relay(self, connection: socket.socket, stream: int, error: int) -> None:
        with suppress(OSError):
            while received := connection.recv(65536):
                self._frame(stream, received, 0)
        with suppress(OSError):
            self._frame(stream, b"", FIN)
            self._frame(error, b"", FIN)

    def _frame(self, stream: int, body: bytes, flags: int) -> None:
        self._send(struct.pack(">II", stream, flags << 24 | len(body)) + body)

    def _send(self, frame: bytes) -> None:
        with self._lock:
            self._writing.sendall(frame)
