"""Who may ring: the bearer token of the webhook, given by reference, or made at the first start."""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

TOKEN, TOKEN_FILE = "MILLRACE_SCHEDULER_TOKEN", "MILLRACE_SCHEDULER_TOKEN_FILE"
# A job is told neither.
VARIABLES = (TOKEN, TOKEN_FILE)


def token_path(folder: Path) -> Path:
    """The file that has the token where no variable has it."""
    given = os.environ.get(TOKEN_FILE)
    return Path(given) if given else folder / "token"


def provide(folder: Path) -> Path | None:
    """Make a token if none is given and there is none yet; return the file that has it, if one does."""
    if os.environ.get(TOKEN):
        return None
    path = token_path(folder)
    if not os.environ.get(TOKEN_FILE):
        # Staging's Alertmanager may be about to do the same; whole or not at all, on a full disk, too.
        with NamedTemporaryFile("w", dir=folder) as file, suppress(FileExistsError):
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.link(file.name, path)
    return path


def known(folder: Path) -> str:
    """The token as it is now, read anew so that it can be changed under a running scheduler; or nothing."""
    given = os.environ.get(TOKEN)
    if given:
        return given.strip()
    try:
        return token_path(folder).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def is_known(shown: str, token: str) -> bool:
    """Whether they are the same, in a time that tells nothing of how much of them is."""
    first, second = (hashlib.sha256(text.encode()).digest() for text in (shown, token))
    return hmac.compare_digest(first, second)
