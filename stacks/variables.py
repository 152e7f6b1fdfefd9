"""`${NAME}` in the texts of a YAML file: values of the environment, put in when the file is read."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from millrace.errors import UserError
from stacks.environment import home

CREDENTIALS_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]*@")


class Variables:
    """The environment's variables, and those that `<home>/<name>/environment` has, lines of NAME=value.

    Raises:
        UserError: others than its owner may read that file.
    """

    def __init__(self, name: str) -> None:
        self._own = home() / name / "environment"
        self._values: Mapping[str, str] = {**read_environment(self._own), **os.environ}
        self._missing: set[str] = set()

    def fill(self, data: Any, where: str) -> Any:
        """Nested data with `${NAME}` replaced in its texts; a name that is not set is left, and remembered.

        Raises:
            UserError: a $ that names no variable, or a password in a URL.
        """
        if isinstance(data, dict):
            return {key: self.fill(value, f"{where}.{key}") for key, value in data.items()}
        if isinstance(data, list):
            return [self.fill(value, where) for value in data]
        if not isinstance(data, str):
            return data
        template = Template(data)
        if not template.is_valid():
            raise UserError(f"{where}: '{data}' has a $ that names no variable; write $$ for a plain $.")
        unset = [name for name in template.get_identifiers() if not self._values.get(name)]
        self._missing.update(unset)
        text = data if unset else template.substitute(self._values)
        if CREDENTIALS_IN_URL.search(text):
            raise UserError(f"{where}: the URL has a password in it; give it a key of its own.")
        return text

    def require(self, path: Path) -> None:
        """See that all names in a file were set.

        Raises:
            UserError: names those that were not.
        """
        if self._missing:
            raise UserError(
                f"{path}: these variables are set neither in the environment nor in {self._own}: "
                f"{', '.join(sorted(self._missing))}."
            )


def read_environment(path: Path) -> dict[str, str]:
    """The variables that a file has, lines of NAME=value; none, if there is no such file.

    Raises:
        UserError: others than its owner may read it.
    """
    if not path.is_file():
        return {}
    if path.stat().st_mode & 0o077:
        raise UserError(f"{path}: holds secrets and others may read it; run: chmod 600 {path}")
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, _, value in pairs}
