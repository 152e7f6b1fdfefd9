"""YAML files read into Pydantic models, with errors that name file, line and key."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from millrace.errors import UserError, nearest

M = TypeVar("M", bound=BaseModel)
Location = tuple[int | str, ...]
# How many faults of one file are listed: one slip in its structure may cause dozens.
SHOWN = 5


def read_yaml(path: Path) -> tuple[dict[str, Any], yaml.Node]:
    """Read a YAML mapping and the node tree that knows its lines.

    Raises:
        UserError: unreadable, not YAML, empty, not a mapping, or a key given twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise UserError(f"{path}: the file is empty; it needs at least one 'key: value' line.")
        _refuse_duplicates(node, path)
        data = yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text, so not YAML.") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply to be read.") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise UserError(f"{path}{where}: not valid YAML: {what}.") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds a {type(data).__name__}, not 'key: value' lines.")
    return data, node


def read_model(path: Path, model: type[M]) -> M:
    """Read a YAML file into `model`.

    Raises:
        UserError: names the file, the line, the key and, for a wrong key, the nearest valid one.
    """
    data, node = read_yaml(path)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise faults(error, model, lambda location: f"{path}, line {line_of(node, location)}") from None


def faults(error: ValidationError, model: type[BaseModel], place: Callable[[Location], str]) -> UserError:
    """All of a model's validation errors as one UserError, each line led by where its value stands."""
    lines = [f"{place(detail['loc'])}: {describe(detail, model)}" for detail in error.errors()]
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"... and {len(lines) - SHOWN} faults more."]
    return UserError("\n".join(lines))


def describe(detail: Any, model: type[BaseModel]) -> str:
    """Turn one Pydantic error into a sentence."""
    location: Location = detail["loc"]
    key = ".".join(str(part) for part in location) or "the file"
    if detail["type"] == "extra_forbidden":
        known = sorted(_keys_at(model, location[:-1]))
        listed = f" Valid keys: {', '.join(known)}." if known else ""
        return f"unknown key '{key}'.{nearest(str(location[-1]), known) or listed}"
    if detail["type"] == "missing":
        return f"'{key}' is missing."
    if detail["type"] in ("literal_error", "union_tag_invalid"):
        expected = detail["ctx"].get("expected") or detail["ctx"]["expected_tags"]
        options = [option.strip(" '") for option in str(expected).replace(" or ", ",").split(",")]
        given = detail["ctx"].get("tag", detail["input"])
        return f"'{key}' is '{given}'; expected {expected}.{nearest(str(given), options)}"
    message = detail["msg"].removeprefix("Value error, ").rstrip(".")
    given = detail["input"]
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"'{key}': {message[0].lower()}{message[1:]}{shown}."


def _refuse_duplicates(node: yaml.Node, path: Path) -> None:
    for parent in _walk(node, set()):
        if isinstance(parent, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in parent.value:
                if isinstance(key.value, str):
                    if key.value in seen:
                        line = key.start_mark.line + 1
                        raise UserError(f"{path}, line {line}: the key '{key.value}' is given twice.")
                    seen.add(key.value)


def _walk(node: yaml.Node, seen: set[int]) -> Iterator[yaml.Node]:
    """Every node once: an alias may lead back to where one came from."""
    if id(node) in seen:
        return
    seen.add(id(node))
    yield node
    children: Iterable[Any] = node.value if not isinstance(node, yaml.ScalarNode) else ()
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            yield from _walk(part, seen)


def line_of(node: yaml.Node, location: Location) -> int:
    """The line of the deepest part of `location` that the file has, counted from 1."""
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if found:
                line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _keys_at(model: type[BaseModel], location: Location) -> set[str]:
    """The keys that are valid in the object at `location` below `model`."""
    places: list[Any] = [model]
    for part in location:
        places = [inside for place in places for inside in _inside(place, part)]
    return {name for place in places if _is_model(place) for name in place.model_fields}


def _inside(place: Any, part: int | str) -> list[Any]:
    """The types that the value may have at `part` of a value of type `place`."""
    if _is_model(place):
        # A part that is no field is the tag of the union that this model was chosen from.
        tagged = any(part in get_args(field.annotation) for field in place.model_fields.values())
        field = place.model_fields.get(part)
        return _choices(field.annotation) if field else [place] if tagged else []
    # A key of a mapping or a position in a list leads to the last of its type's arguments.
    arguments = [argument for argument in get_args(place) if argument is not Ellipsis]
    return [choice for argument in arguments[-1:] for choice in _choices(argument)]


def _choices(annotation: Any) -> list[Any]:
    """The members of a union, or the one type that it is."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return [choice for member in get_args(annotation) for choice in _choices(member)]
    return [annotation]


def _is_model(place: Any) -> bool:
    return isinstance(place, type) and issubclass(place, BaseModel)
