"""The contract: what a table is, read from configs/problems/<name>.yaml.

Checks, cleaning, features, signature, request schema, form and card are derived from it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from millrace.errors import UserError, unknown
from millrace.sources.source import WrittenSource
from millrace.yaml_files import read_model

ColumnType = Literal["number", "integer", "category", "boolean", "datetime", "id"]
Task = Literal["regression", "binary", "multiclass"]
NUMERIC: frozenset[str] = frozenset({"number", "integer"})
# float64 holds every integer up to 2**53; past single precision, 3.4e38, scikit-learn's trees refuse a number
# and its square is soon infinite.
LARGEST: dict[str, float] = {"integer": 2**53, "number": 3.4e38}
# Columns that Millrace adds to tables, and the start of those with class probabilities.
OWN_COLUMNS = frozenset({"_unreadable", "_reason", "_target", "_prediction"})
OWN_PREFIX = "_probability_"


class Strict(BaseModel):
    """Base of every configuration object: immutable, and a wrong key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Strict):
    """What one column may hold.

    `range` is inclusive, in the column's unit; either end may be null. `id` is text that
    identifies a row and is never a model input.
    """

    type: ColumnType
    unit: str = ""
    meaning: str = ""
    range: tuple[FiniteFloat | None, FiniteFloat | None] | None = None
    nullable: bool = False
    categories: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Column:
        if self.range is not None:
            if self.type not in NUMERIC:
                raise ValueError(f"'range' is for number and integer columns, not {self.type}")
            low, high = self.range
            if low is not None and high is not None and low >= high:
                raise ValueError(f"'range' must rise: {low:g} is not below {high:g}")
        if self.type == "category" and len(self.categories) < 2:
            raise ValueError("a category column lists at least two 'categories'")
        if self.type != "category" and self.categories:
            raise ValueError(f"'categories' is for category columns, not {self.type}")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("'categories' names a value twice")
        if any(not value or value != value.strip() for value in self.categories):
            raise ValueError("'categories' are not empty and have no space around them")
        return self


class Target(Column):
    """The column to predict."""

    name: str = Field(min_length=1)


class Split(Strict):
    """How the holdout is chosen: its share of the rows and the seed of the row hash."""

    holdout: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    seed: int = 0


class Problem(Strict):
    """One table and what is to be predicted from it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    description: str = ""
    task: Task
    source: WrittenSource = Field(description="where the rows come from, unless --data says otherwise")
    synthetic: bool = False
    target: Target
    features: dict[str, Column] = Field(min_length=1)
    key: str | None = Field(None, description="the column that identifies a row")
    split: Split = Split()
    intended_use: str = ""
    limits: str = ""
    licence: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Problem:
        if self.target.name in self.features:
            raise ValueError(f"the target '{self.target.name}' is also listed as a feature")
        odd = [name for name in self.columns if not name or any(c in '"\\' or ord(c) < 32 for c in name)]
        if odd:
            raise ValueError(
                f"{odd[0]!r} cannot be a column's name: it has a quote, a backslash or a line end"
            )
        own = [name for name in self.columns if name in OWN_COLUMNS or name.startswith(OWN_PREFIX)]
        if own:
            raise ValueError(f"'{own[0]}' is a name that Millrace uses itself; rename the column")
        if self.target.nullable:
            raise ValueError("a target cannot be nullable: a row without it teaches nothing")
        if self.key is not None and self.key not in self.features:
            raise ValueError(str(unknown("key column", self.key, self.features)))
        if not self.inputs:
            raise ValueError("no feature is left to learn from: all are ids or the key")
        expected = {"regression": NUMERIC, "binary": {"category", "boolean"}, "multiclass": {"category"}}
        if self.target.type not in expected[self.task]:
            allowed = " or ".join(sorted(expected[self.task]))
            raise ValueError(f"a {self.task} target is of type {allowed}, not {self.target.type}")
        if self.task == "binary" and len(self.classes) != 2:
            raise ValueError(f"a binary target has 2 categories, not {len(self.classes)}")
        if self.task == "multiclass" and len(self.classes) < 3:
            raise ValueError("a multiclass target has at least 3 categories; with 2 the task is binary")
        return self

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Every column the table must have: the features, then the target."""
        return {**self.features, self.target.name: self.target}

    @cached_property
    def inputs(self) -> dict[str, Column]:
        """The features a model learns from: neither ids nor the key."""
        return {
            name: column for name, column in self.features.items() if column.type != "id" and name != self.key
        }

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The target's classes in the order of probability columns; empty for regression."""
        if self.task == "regression":
            return ()
        return self.target.categories or ("false", "true")


def problem_names(folder: Path) -> list[str]:
    """List the problems that have a file in `folder`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_problem(name: str, folder: Path) -> Problem:
    """Read `<folder>/<name>.yaml`.

    Raises:
        UserError: no such problem, or the file breaks the contract's own rules.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise unknown("problem", name, problem_names(folder))
    problem = read_model(path, Problem)
    if problem.name != name:
        raise UserError(f"{path}: 'name' is '{problem.name}' but the file is called '{name}.yaml'.")
    return problem


def parse_problem(data: dict[str, Any]) -> Problem:
    """Rebuild a problem from its own `model_dump(mode="json")`, as a bundle stores it."""
    return Problem.model_validate(data)
