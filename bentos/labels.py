"""What an image says of the Bento in it: OCI's labels, and which model it is."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from bentos.build import BUNDLE, VERSION, code_digest
from millrace.bundle import CONTRACT, read_json, verify
from millrace.errors import UserError
from millrace.yaml_files import read_yaml

OCI = "org.opencontainers.image"
OWN = "dev.millrace"


def labels(bento: Path, revision: str) -> dict[str, str]:
    """The labels of an exported Bento, whose bundle is verified.

    `revision` is the commit of this checkout; it is told only if the code around the model is this one.

    Raises:
        UserError: the bundle in it is damaged.
    """
    about: dict[str, Any] = read_yaml(bento / "bento.yaml")[0]
    (model,) = (path.parent for path in bento.glob("models/*/*/model.yaml"))
    digest = verify(model / BUNDLE)
    found = {
        f"{OCI}.title": about["name"],
        f"{OCI}.version": about["version"],
        f"{OCI}.created": datetime.fromisoformat(about["creation_time"]).isoformat(timespec="seconds"),
        f"{OWN}.problem": read_json(model / BUNDLE / CONTRACT)["name"],
        f"{OWN}.bundle.digest": digest,
        f"{OWN}.model.version": read_yaml(model / "model.yaml")[0]["labels"][VERSION],
    }
    if revision and about["version"].endswith(f"-{code_digest()[:8]}"):
        found[f"{OCI}.revision"] = revision
    return found


if __name__ == "__main__":
    try:
        for key, value in labels(Path(sys.argv[1]), sys.argv[2]).items():
            print(f"{key}={value}")
    except UserError as error:
        sys.exit(f"error: {error}")
