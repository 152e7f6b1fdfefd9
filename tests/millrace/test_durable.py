"""Files that a crash leaves whole."""

from pathlib import Path

import pytest

from millrace.durable import add_line, read_lines, write_whole
from millrace.strict import Strict


class Note(Strict):
    text: str


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "file"
    write_whole(path, b"first")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:3])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"second")
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == {"file": b"first"}


@pytest.mark.parametrize("torn", ['{"text": "hal', "\xff", '{"other": 1}\n', "\n\n"])
def test_what_a_crash_has_torn_is_passed_over(torn: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    assert list(read_lines(path, Note)) == []
    add_line(path, Note(text="one"))
    with path.open("a", encoding="latin-1") as file:
        file.write(torn)
    add_line(path, Note(text="two\nlines"))
    add_line(path, Note(text="three"))
    assert [note.text for note in read_lines(path, Note)] == ["one", "two\nlines", "three"]
    assert [note.text for note in read_lines(path, Note, 1)] == ["three"]
