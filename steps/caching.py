"""What a step's cache key must also cover: the code in millrace/ that the step calls."""

import hashlib
from functools import cache
from pathlib import Path

from zenml.config.cache_policy import CachePolicy

DOMAIN = Path(__file__).parent.parent / "millrace"


@cache
def code_digest() -> str:
    """sha256 of the domain's sources and templates; ZenML itself sees only the step's own code."""
    digest = hashlib.sha256()
    for path in sorted(DOMAIN.rglob("*")):
        if path.suffix in (".py", ".html"):
            digest.update(str(path.relative_to(DOMAIN)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def cache_policy() -> CachePolicy:
    """Step code, parameters and input contents, as usual, and the domain's code."""
    return CachePolicy(cache_func=code_digest)
