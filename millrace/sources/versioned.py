"""Files under DVC, at a revision of their repository."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any

from millrace.errors import UserError, nearest
from millrace.sources.files import Place, read_place, reason
from millrace.sources.source import Source
from millrace.sources.wanted import Found, Wanted


def read(repo: str, source: Source, wanted: Wanted) -> tuple[Found, dict[str, str]]:
    """Read a file or folder as of `source.rev`, the last commit if it names none.

    Returns what was found, and the revision: `rev` as given, the `commit` it stands for, and DVC's `md5`.

    Raises:
        UserError: no such repository, revision or path, or the file is on no remote.
    """
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    rev, origin = source.rev or "HEAD", source.origin
    if source.query or source.endpoint:
        raise UserError(
            f"{origin}: 'query' and 'endpoint' are not for DVC; its remotes are set by dvc remote."
        )
    filesystem, commit = _open(repo, rev, origin)
    place = Place(filesystem, str(source.path), origin)
    with place.reading():
        known = filesystem.info(place.path)
    if "dvc_info" not in known:
        raise UserError(f"{origin}: '{source.path}' is in the repository but not under DVC; dvc add it.")
    _refuse_lost(place)
    found = read_place(place, source.sheet or "", source.encoding, wanted)
    return found, {"rev": rev, "commit": commit, "md5": str(known["dvc_info"]["md5"])}


def _refuse_lost(place: Place) -> None:
    """Refuse a file that DVC knows of but that was never pushed."""
    with place.reading():
        if place.filesystem.isdir(place.path):
            return
        try:
            place.filesystem.open(place.path).close()
        except FileNotFoundError:
            raise UserError(
                f"{place.origin}: neither DVC's cache nor a remote has this version; dvc push it from where "
                "it was added."
            ) from None


def _open(repo: str, rev: str, origin: str) -> tuple[Any, str]:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import CloneError, RevError

    # What it has to say comes as exceptions; its log would go to whatever the terminal was at its import.
    for logger in ("dvc", "dvc_objects", "dvc_data"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    try:
        filesystem = DVCFileSystem(repo, rev=rev)
        # Opened only when it is asked for something.
        return filesystem, str(filesystem.repo.get_rev())
    except RevError:
        names: list[str] = []
        with suppress(DvcException):
            scm = DVCFileSystem(repo, rev="HEAD").repo.scm
            names = [*scm.list_tags(), *scm.list_branches()]
        raise UserError(f"{origin}: no such revision '{rev}'.{nearest(rev, names)}") from None
    except CloneError as error:
        raise UserError(f"{origin}: no such repository ({reason(error.__cause__ or error)}).") from None
    except DvcException as error:
        raise UserError(f"{origin}: cannot be opened: {reason(error)}.") from None
