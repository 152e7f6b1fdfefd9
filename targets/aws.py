"""What the targets on AWS share: calls whose errors are sentences, and sums from CloudWatch.

Credentials are found as boto3 finds them: the environment, a profile, a role.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.errors import UserError

# CloudWatch sums by the minute.
MINUTE = timedelta(minutes=1)


class Aws:
    """The services of one region."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._clients: dict[str, Any] = {}

    def call(self, service: str, operation: str, /, **arguments: Any) -> Any:
        """What an operation answers, by boto3's name of it.

        Raises:
            UserError: AWS refuses it, or does not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client(service), operation)(**arguments)
        except (BotoCoreError, ClientError) as error:
            raise UserError(f"AWS, {service} {operation}: {error}") from None

    def total(self, namespace: str, metric: str, dimensions: Mapping[str, str], since: datetime) -> float:
        """The sum of a metric since then, its minute included; CloudWatch knows it a minute or two late."""
        found = self.call(
            "cloudwatch",
            "get_metric_statistics",
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=since.replace(second=0, microsecond=0),
            EndTime=datetime.now(UTC) + 2 * MINUTE,
            Period=60,
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in found["Datapoints"]))

    def _client(self, service: str) -> Any:
        import boto3

        if service not in self._clients:
            self._clients[service] = boto3.session.Session().client(service, region_name=self._region)
        return self._clients[service]
