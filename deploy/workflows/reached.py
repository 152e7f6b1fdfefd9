"""Whether a deployment is what answers where its users find it.

    python3 -m deploy.workflows.reached SUMMARY.json

asks from outside: the deployment has asked the candidate by its own way in. Plain Python without packages.
"""

import json
import os
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

TRIES, PAUSE = 10, 3.0


def why_not(url: str, digest: str) -> str:
    """What is wrong with the service at a URL, which is to serve the bundle with this digest; or nothing."""
    key = os.environ.get("MILLRACE_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        for path in ("readyz", "v1/model"):
            with urlopen(Request(f"{url.rstrip('/')}/{path}", headers=headers), timeout=10) as answer:
                body = answer.read()
        found = json.loads(body)["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{url}: does not answer as a service: {error}"
    return "" if found == digest else f"{url}: serves the bundle {found}, not {digest}"


def main(path: str) -> int:
    """See that a deployment is reached, within half a minute; returns the exit code."""
    told = json.loads(Path(path).read_text(encoding="utf-8"))
    for tried in range(TRIES):
        if tried:
            time.sleep(PAUSE)
        if not (fault := why_not(told["url"], told["digest"])):
            print(f"{told['url']} serves version {told['version']} of {told['problem']}.")
            return 0
    print(f"error: {fault}.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
