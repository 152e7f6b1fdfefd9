"""MLflow and ZenML: the two servers that pipelines talk to."""

import secrets
import sys
from typing import Any

from deploy.staging.server import Server
from deploy.staging.settings import BUCKET, USER, Settings, write_private

MLFLOW_ACCOUNTS = """\
[mlflow]
default_permission = READ
database_uri = {database}
admin_username = {user}
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""
TIMEOUT = 15


def mlflow(settings: Settings) -> Server:
    """MLflow's tracking server and registry; clients' artifacts go through it to S3."""
    database = (
        f"postgresql+psycopg://mlflow:{settings.secrets['mlflow_database']}"
        f"@127.0.0.1:{settings.ports['postgresql']}"
    )
    accounts = settings.folder / "mlflow" / "accounts.ini"

    def configure() -> None:
        text = MLFLOW_ACCOUNTS.format(
            database=f"{database}/mlflow_auth", user=USER, password=settings.secrets["mlflow"]
        )
        write_private(accounts, text)

    def answers() -> bool:
        import requests

        return requests.get(
            f"{settings.url('mlflow')}/api/2.0/mlflow/experiments/search?max_results=1",
            auth=(USER, settings.secrets["mlflow"]),
            timeout=TIMEOUT,
        ).ok

    where = ["--host", "127.0.0.1", "--port", str(settings.ports["mlflow"]), "--workers", "1"]
    return Server(
        name="mlflow",
        folder=settings.folder,
        command=[sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", *where],
        environment=lambda: {
            "MLFLOW_BACKEND_STORE_URI": f"{database}/mlflow",
            "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/mlflow",
            "MLFLOW_S3_ENDPOINT_URL": settings.url("s3"),
            "AWS_ACCESS_KEY_ID": settings.secrets["s3_key"],
            "AWS_SECRET_ACCESS_KEY": settings.secrets["s3_secret"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_AUTH_CONFIG_PATH": str(accounts),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.secrets["mlflow_session"],
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        address=settings.url("mlflow"),
        after=["postgresql", "s3"],
        configure=configure,
        answers=answers,
    )


def zenml(settings: Settings) -> Server:
    """ZenML's server and dashboard, with an API key for the pipelines."""
    where = ["--host", "127.0.0.1", "--port", str(settings.ports["zenml"]), "--log-level", "warning"]
    return Server(
        name="zenml",
        folder=settings.folder,
        command=[sys.executable, "-m", "uvicorn", "zenml.zen_server.zen_server_api:app", *where],
        environment=lambda: {
            "ZENML_STORE_URL": (
                f"mysql://zenml:{settings.secrets['mariadb']}@127.0.0.1:{settings.ports['mariadb']}/zenml"
            ),
            "ZENML_CONFIG_PATH": str(settings.folder / "zenml"),
            "ZENML_SECRETS_STORE_TYPE": "sql",
            "ZENML_SECRETS_STORE_ENCRYPTION_KEY": settings.secrets["zenml_encryption"],
            "ZENML_SERVER_JWT_SECRET_KEY": settings.secrets["zenml_tokens"],
            "ZENML_SERVER_DEPLOYMENT_TYPE": "other",
            "ZENML_SERVER_AUTO_ACTIVATE": "1",
            "ZENML_DEFAULT_USER_NAME": USER,
            "ZENML_DEFAULT_USER_PASSWORD": settings.secrets["zenml"],
            "ZENML_ANALYTICS_OPT_IN": "false",
            "ZENML_LOGGING_VERBOSITY": "WARN",
        },
        address=settings.url("zenml"),
        after=["mariadb"],
        answers=lambda: bool(_token(settings)),
        complete=lambda: _make_api_key(settings),
    )


def _token(settings: Settings) -> str:
    """Log in to ZenML as the person who started staging; the answer's access token."""
    import requests

    answer = requests.post(
        f"{settings.url('zenml')}/api/v1/login",
        data={"username": USER, "password": settings.secrets["zenml"]},
        timeout=TIMEOUT,
    )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def _make_api_key(settings: Settings) -> None:
    """Give the pipelines an account of their own, once, and the dashboard's user no survey."""
    if "zenml_api_key" in settings.secrets:
        return
    import requests

    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {_token(settings)}"
        api = f"{settings.url('zenml')}/api/v1"
        # The dashboard opens with a survey until both are answered.
        no_survey = {"user_metadata": {"finished_onboarding_survey": True}, "email_opted_in": False}
        session.put(f"{api}/current-user", json=no_survey, timeout=TIMEOUT).raise_for_status()
        accounts = session.get(f"{api}/service_accounts?name=pipelines", timeout=TIMEOUT).json()["items"]
        if not accounts:
            account: dict[str, Any] = {"name": "pipelines", "active": True}
            made = session.post(f"{api}/service_accounts", json=account, timeout=TIMEOUT)
            made.raise_for_status()
            accounts = [made.json()]
        keys = f"{api}/service_accounts/{accounts[0]['id']}/api_keys"
        # The server tells a key once: one that an interrupted start did not keep is not seen again.
        key = session.post(keys, json={"name": f"staging-{secrets.token_hex(4)}"}, timeout=TIMEOUT)
        key.raise_for_status()
        settings.keep(zenml_api_key=key.json()["body"]["key"])
