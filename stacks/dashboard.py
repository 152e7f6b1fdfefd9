"""ZenML's own dashboard over this project's store, without logging the client in to it.

`zenml login --local` would connect the client to the server, and leave it connected to nothing when
the server stops. Here the server reads the same database and the client never knows.
"""

import os
import sys
from pathlib import Path

from millrace.errors import UserError
from stacks import environment


def main(port: str) -> int:
    """Serve the dashboard on a port of 127.0.0.1 until interrupted."""
    environment.prepare()
    if not any(Path(os.environ["ZENML_CONFIG_PATH"]).rglob("zenml.db")):
        raise UserError("There is nothing to show yet: run `make train` first.")
    os.environ.update(_server_environment())
    print(f"ZenML's dashboard: http://127.0.0.1:{port} (ready in about ten seconds; Ctrl-C stops it)")
    sys.stdout.flush()
    server = [sys.executable, "-m", "uvicorn", "zenml.zen_server.zen_server_api:app"]
    os.execv(sys.executable, [*server, "--host", "127.0.0.1", "--port", port, "--log-level", "error"])


def _server_environment() -> dict[str, str]:
    """What `zenml login --local` gives its server, with a config folder of the server's own."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration

    client = Client()
    # Otherwise the dashboard opens with a survey.
    client.update_user(
        client.active_user.id,
        updated_metadata={"finished_onboarding_survey": True},
        updated_email_opt_in=False,
    )
    config = GlobalConfiguration()
    return {
        "ZENML_SERVER": "true",
        "ZENML_SERVER_ALLOW_LOCAL_FILE_ACCESS": "true",
        "ZENML_CONFIG_PATH": str(environment.home() / "zenml-server"),
        "ZENML_LOCAL_STORES_PATH": config.local_stores_path,
        "ZENML_USER_ID": str(config.user_id),
        "ZENML_SERVER_AUTH_SCHEME": "NO_AUTH",
        "ZENML_SERVER_DEPLOYMENT_TYPE": "local",
        "ZENML_SERVER_AUTO_ACTIVATE": "True",
        "ZENML_DISABLE_DATABASE_MIGRATION": "True",
        "ZENML_LOGGING_VERBOSITY": "ERROR",
    }


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
