"""What a column seems to be: its part of the contract, or why it is left out."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contract import LARGEST, Column, ColumnType
from millrace.profiling.settings import ProfilingSettings
from millrace.profiling.statistics import Tally

# A column with fewer rows of a category than this says so.
RARE = 10
SHOWN = 3
# More of these among whole numbers, and they are codes: 007 is no number.
CODES = 0.01
CODE = r"^[+-]?0[0-9]+$"
THOUSANDS = re.compile(r"\D{0,4}\d{1,3}([.,' \u2009\u00a0]\d{3})+([.,]\d+)?\D{0,4}")
# So many distinct texts are tried before all of them are.
TRIED = 1000


@dataclass(frozen=True)
class Finding:
    """What a column seems to be.

    `column` is None if nothing can be learnt from it; `kind` is the type that its cells have even
    then. `bad` are the distinct values that break the contract.
    """

    column: Column | None
    kind: ColumnType | None
    notes: tuple[str, ...]
    bad: pa.Array = field(default_factory=lambda: pa.nulls(0))
    bad_rows: int = 0


def infer(counted: Tally, settings: ProfilingSettings) -> Finding:
    """Type, range, categories and nullability of a column."""
    if counted.known == 0:
        return nothing("empty in every row")
    if len(counted.values) == 1:
        kind: ColumnType = "boolean" if pa.types.is_boolean(counted.values.type) else "category"
        return _constant(counted, kind, counted.texts()[0])
    if pa.types.is_temporal(counted.values.type):
        return _datetime(counted, counted.read("datetime"))
    if _is_boolean(counted):
        return Finding(_column(counted, "boolean"), "boolean", _boolean_notes(counted))
    if not _is_text(counted):
        numbers = _good_numbers(counted)
        if not _few(counted, numbers.isna().to_numpy(), settings):
            return as_text(counted, settings, "most of its numbers are infinite or too large")
        return _number(counted, numbers, settings)
    return _infer_text(counted, settings)


def nothing(why: str) -> Finding:
    """A column without a type, so left out."""
    return Finding(None, None, (why,))


def as_text(counted: Tally, settings: ProfilingSettings, *notes: str) -> Finding:
    """A category if there are few different texts, else an id, of which a model learns nothing."""
    texts, known = counted.texts(), counted.known
    tidy = all(text and text == text.strip() for text in texts) and len(set(texts)) == len(texts)
    if tidy and len(texts) <= settings.max_categories and 2 * len(texts) <= known:
        found = (*notes, *_category_notes(texts, counted.counts))
        return Finding(_column(counted, "category", categories=sort(texts)), "category", found)
    many = f"{len(texts):,} different texts in {known:,} rows: not for a model to learn from"
    return Finding(_column(counted, "id"), "id", (*notes, many))


def bounds(low: float, high: float, whole: bool, margin: float) -> tuple[float, float]:
    """A range around `low` to `high`, wider by `margin` spans, rounded outwards to three figures.

    What is never negative (or never positive) stays so.
    """
    largest = float(LARGEST["integer" if whole else "number"])
    span = min(high - low, largest)
    ends = [low - margin * span, high + margin * span]
    digits = 2 - math.floor(math.log10(span))
    if whole:
        digits = min(digits, 0)
    if digits < 300:
        ends = [_rounded(ends[0], digits, math.floor), _rounded(ends[1], digits, math.ceil)]
    if low >= 0:
        ends[0] = max(ends[0], 0.0)
    if high <= 0:
        ends[1] = min(ends[1], 0.0)
    return max(min(ends[0], low), -largest), min(max(ends[1], high), largest)


def sort(texts: list[str]) -> tuple[str, ...]:
    """Numbers by size, then words by alphabet."""

    def rank(text: str) -> tuple[bool, int, str]:
        return not text.isdecimal(), len(text.lstrip("0")) if text.isdecimal() else 0, text

    return tuple(sorted(texts, key=rank))


def percent(part: int, whole: int) -> str:
    """A share for people: `0.1%`, `12%`."""
    share = 100 * part / max(whole, 1)
    return f"{share:.0f}%" if share >= 10 or share == 0 else f"{share:.2g}%"


def examples(texts: list[str], separator: str = ", ") -> str:
    """The first few texts, cut and quoted."""
    cut = [text if len(text) <= 30 else text[:27] + "..." for text in texts[:SHOWN]]
    return separator.join(f"'{text}'" for text in cut)


def _infer_text(counted: Tally, settings: ProfilingSettings) -> Finding:
    numbers = _good_numbers(counted)
    unread = numbers.isna().to_numpy()
    if _few(counted, unread, settings):
        codes = counted.where(pc.match_substring_regex(counted.values, CODE).to_numpy(zero_copy_only=False))
        if codes.known > CODES * counted.known:
            zeros = f"{codes.known:,} cells have leading zeros, like {examples(codes.head())}"
            return as_text(counted, settings, f"codes, not numbers: {zeros}")
        lost = f"{codes.known:,} cells have leading zeros, which a number does not keep"
        return _number(counted, numbers, settings, *([lost] if codes.known else []))
    moments = _moments(counted)
    if moments is not None and _few(counted, moments.isna().to_numpy(), settings):
        return _datetime(counted, moments)
    return as_text(counted, settings, *_number_notes(counted, counted.where(unread)))


def _number_notes(counted: Tally, odd: Tally) -> list[str]:
    """What keeps a column from being read as numbers, if it nearly is."""
    notes = []
    if 2 * odd.known < counted.known:
        share = percent(odd.known, counted.known)
        notes.append(
            f"{share} of its cells are no numbers, like {examples(odd.head())}: too many to set aside"
        )
    tried = odd.head(TRIED)
    thousands = [text for text in tried if THOUSANDS.fullmatch(text)]
    if 2 * len(thousands) > len(tried):
        notes.append(
            f"cells like {examples(thousands)} may be numbers with thousands separators: "
            "write them without, and they are read as numbers"
        )
    return notes


def _number(counted: Tally, numbers: "pd.Series[Any]", settings: ProfilingSettings, *notes: str) -> Finding:
    bad = numbers.isna().to_numpy()
    whole = bool((numbers[~bad] % 1 == 0).all())
    if whole:
        large = (numbers.abs() > LARGEST["integer"]).to_numpy()
        if not _few(counted, bad | large, settings):
            return as_text(counted, settings, *notes, "integers too large to be exact as numbers")
        bad = bad | large
    kind: ColumnType = "integer" if whole else "number"
    good = numbers[~bad]
    notes = (*notes, *_unreadable(counted, bad, kind))
    if good.nunique() == 1:
        return _constant(counted, kind, f"{good.iloc[0]:g}", *notes)
    reach = bounds(float(good.min()), float(good.max()), whole, settings.range_margin)
    column = _column(counted, kind, range=reach)
    return Finding(column, kind, notes, counted.values.filter(pa.array(bad)), int(counted.counts[bad].sum()))


def _datetime(counted: Tally, moments: "pd.Series[Any]") -> Finding:
    bad = moments.isna().to_numpy()
    notes = _unreadable(counted, bad, "datetime")
    if moments.nunique() == 1:
        return _constant(counted, "datetime", str(moments[~bad].iloc[0]), *notes)
    column = _column(counted, "datetime")
    values = counted.values.filter(pa.array(bad))
    return Finding(column, "datetime", notes, values, int(counted.counts[bad].sum()))


def _good_numbers(counted: Tally) -> "pd.Series[Any]":
    numbers = counted.read("number")
    return numbers.where(numbers.abs() <= LARGEST["number"])


def _moments(counted: Tally) -> "pd.Series[Any] | None":
    """The dates that the texts are, or None if a sample of them shows that they are something else."""
    step = max(1, len(counted.values) // TRIED)
    few = Tally(counted.values[::step], counted.counts[::step], 0, {})
    # To the reader of dates 20240131 is one; to people it may be any number.
    if few.read("datetime").isna().mean() > 0.5 or pc.any(pc.utf8_is_decimal(counted.values)).as_py():
        return None
    return counted.read("datetime")


def _is_boolean(counted: Tally) -> bool:
    """Whether every cell says true or false, and both occur."""
    if len(counted.values) > 20:
        return False
    values = counted.read("boolean")
    return bool(values.notna().all()) and values.nunique() == 2


def _few(counted: Tally, bad: NDArray[np.bool_], settings: ProfilingSettings) -> bool:
    return within(int(counted.counts[bad].sum()), counted.known, settings)


def within(bad: int, rows: int, settings: ProfilingSettings) -> bool:
    """Whether so many bad rows pass training's limit, with none to spare."""
    return bad == 0 or bad < settings.bad_rows_limit * rows


def _is_text(counted: Tally) -> bool:
    return bool(pa.types.is_string(counted.values.type) or pa.types.is_large_string(counted.values.type))


def _column(counted: Tally, kind: ColumnType, **parts: Any) -> Column:
    return Column(type=kind, nullable=counted.missing > 0, **parts)


def _constant(counted: Tally, kind: ColumnType, value: str, *notes: str) -> Finding:
    where = "where it is known" if counted.missing else "in every row"
    return Finding(None, kind, (f"constant: {examples([value])} {where}", *notes))


def _unreadable(counted: Tally, bad: NDArray[np.bool_], kind: str) -> tuple[str, ...]:
    if not bad.any():
        return ()
    cells = counted.where(bad)
    share = f"{cells.known:,} of {counted.known:,} cells"
    like = examples(cells.head())
    return (f"{share} cannot be read as {kind}, like {like}; their rows go to quarantine",)


def _boolean_notes(counted: Tally) -> tuple[str, ...]:
    if pa.types.is_boolean(counted.values.type):
        return ()
    return (f"written as {', '.join(sorted(counted.texts()))}",)


def _category_notes(texts: list[str], counts: NDArray[np.int64]) -> list[str]:
    notes = []
    rare = [f"{text} ({count})" for text, count in zip(texts, counts, strict=True) if count < RARE]
    if rare:
        more = f" and {len(rare) - SHOWN} more" if len(rare) > SHOWN else ""
        notes.append(f"rare, in fewer than {RARE} rows: {', '.join(rare[:SHOWN])}{more}")
    spellings: dict[str, list[str]] = {}
    for text in texts:
        spellings.setdefault(text.casefold(), []).append(text)
    twins = ["/".join(sorted(same)) for same in spellings.values() if len(same) > 1]
    if twins:
        notes.append(f"differ in case only, and count as different: {', '.join(twins[:SHOWN])}")
    return notes


def _rounded(value: float, digits: int, towards: Any) -> float:
    scaled = value * 10.0**digits
    # A whole number of steps that floating point missed by a hair is not rounded to the next one.
    near = round(scaled)
    steps = near if math.isclose(scaled, near, rel_tol=1e-12) else towards(scaled)
    return float(round(steps / 10.0**digits, max(digits, 0))) if digits >= 0 else float(steps * 10**-digits)
