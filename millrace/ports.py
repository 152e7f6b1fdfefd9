"""Whether a port is free. Servers that share ports (HAProxy, BentoML) start beside each other without a word,
and each answers a part of the requests.

As a program, `python -m millrace.ports URL`: ends with a sentence and exit code 2 if it is not.
"""

import socket
import sys
from urllib.parse import urlsplit

from millrace.errors import UserError


def require_free(url: str) -> None:
    """See that nobody listens where something is to be started: at `http://HOST:PORT`.

    Raises:
        UserError: somebody does.
    """
    address = urlsplit(url)
    with socket.socket() as probe:
        if probe.connect_ex((address.hostname, address.port)) == 0:
            raise UserError(
                f"{address.netloc} is taken by another program, such as a `make serve` or what `make deploy` "
                "started; end that, or take another port."
            )


if __name__ == "__main__":
    try:
        require_free(sys.argv[1])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
