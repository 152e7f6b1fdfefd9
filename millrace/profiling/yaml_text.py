"""A draft as the text of configs/problems/<name>.yaml, with a comment for each decision."""

from typing import Any

import yaml

from millrace.contract import Column
from millrace.profiling.drafting import ColumnProfile, Draft

WIDTH = 108


def to_yaml(draft: Draft) -> str:
    """The file's text; reading it gives `draft.problem`."""
    problem, rows = draft.problem, draft.expected
    parts = f"{rows.used:,} used + {rows.quarantined:,} quarantined + {rows.duplicates:,} duplicates"
    lines = [
        *_comment(f"Drafted from {draft.origin}: {draft.rows:,} rows = {parts}."),
        *_comment("It trains as it is. Fill in every unit and meaning: people read them on pages and cards."),
        *(line for warning in draft.warnings for line in _comment(warning)),
        _entry("name", problem.name),
        f"{_entry('title', problem.title)}  # fill in",
        f"{_entry('description', problem.description)}  # fill in",
        _entry("task", problem.task),
        _entry("source", problem.source.origin),
    ]
    if problem.synthetic:
        lines.append(_entry("synthetic", True))
    if problem.key:
        lines.append(_entry("key", problem.key))
    lines += _notes(draft.target, "")
    lines.append(_entry("target", {"name": problem.target.name, **_parts(problem.target)}))
    lines.append("features:")
    for column in draft.columns:
        if column.name in problem.features and column.role != "left out":
            lines += _notes(column, "  ")
            lines.append("  " + _entry(column.name, _parts(problem.features[column.name])))
    left_out = [column for column in draft.columns if column.role == "left out"]
    if left_out:
        lines.append("# Left out:")
        for column in left_out:
            lines += _comment(f"- {column.name}: {'; '.join(column.notes)}")
    lines += [f'{key}: ""  # fill in' for key in ("intended_use", "limits", "licence")]
    return "\n".join(lines) + "\n"


def _parts(column: Column) -> dict[str, Any]:
    parts: dict[str, Any] = {"type": column.type}
    if column.type != "id":
        parts |= {"unit": "", "meaning": ""}
    if column.range:
        parts["range"] = [_plain(end) for end in column.range]
    if column.categories:
        parts["categories"] = list(column.categories)
    if column.nullable:
        parts["nullable"] = True
    return parts


def _plain(end: float | None) -> float | None:
    return int(end) if end is not None and end.is_integer() and abs(end) < 1e15 else end


def _notes(column: ColumnProfile, indent: str) -> list[str]:
    notes = [line for note in column.notes for line in _comment(note, indent)]
    if column.facts is None:
        return notes
    seen = []
    if column.facts.numbers:
        numbers = column.facts.numbers
        seen.append(f"{numbers.low:.15g} to {numbers.high:.15g}")
    elif column.facts.first:
        seen.append(f"{column.facts.first} to {column.facts.last}")
    if column.facts.missing:
        seen.append(f"{column.facts.missing:,} empty")
    return [*notes, *(_comment(f"seen: {', '.join(seen)}", indent) if seen else [])]


def _comment(text: str, indent: str = "") -> list[str]:
    """Comment lines; what data could smuggle into the file by a line end is escaped."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    lines, line = [], ""
    for word in printable.split(" "):
        if line and len(indent) + len(line) + len(word) > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return [f"{indent}# {line}" for line in [*lines, line]]


class _OneLine(yaml.SafeDumper):
    """Writes a mapping on one line, however long its keys."""

    def check_simple_key(self) -> bool:
        return True

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _entry(key: str, value: Any) -> str:
    """`key: value` on one line, in quotes where YAML needs them."""
    text = yaml.dump(
        {key: value},
        Dumper=_OneLine,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=float("inf"),
    )
    return str(text).strip().removeprefix("{").removesuffix("}")
