"""The schedules as Kubernetes' CronJobs, each of which starts run.py in a pod: no process has to stand by.

ZenML's own schedules repeat a run with the parameters that it had when it was scheduled, and without run.py:
monitoring would judge the same window for ever, retraining would know no cool-down.
"""

from typing import Any

import yaml
from apscheduler.triggers.cron.expressions import WEEKDAYS

from millrace.errors import UserError
from millrace.yaml_files import read_model
from scheduler.orders import arguments_of
from scheduler.settings import Schedule, Schedules
from stacks.environment import ROOT
from stacks.stack_files import StackFile

# In a CronJob's arguments: the name of the job, which ends with the minute for which it was scheduled.
JOB = "$(MILLRACE_JOB)"
EGRESS = "millrace.dev/egress"
# A missed moment is made up for within this time; seconds.
DEADLINE = 3600
HEAD = """\
# Made of configs/schedules.yaml by `python -m scheduler kubernetes`: docs/scheduler.md tells what it needs.
#   kubectl apply --namespace millrace -k deploy/kubernetes/schedules
"""


def manifests(settings: Schedules, stack: str) -> str:
    """The enabled schedules as CronJobs, each on `stack`.

    Raises:
        UserError: that stack's steps do not run on Kubernetes.
    """
    file = read_model(ROOT / "configs" / "stacks" / f"{stack}.yaml", StackFile)
    if file.components.orchestrator.flavor != "kubernetes":
        raise UserError(f"The stack '{stack}' has no cluster to schedule it; `make scheduler` is for it.")
    resources = [
        _cron_job(name, schedule.model_copy(update={"stack": stack}), settings)
        for name, schedule in settings.enabled.items()
    ]
    return HEAD + yaml.safe_dump_all(resources, sort_keys=False, width=110)


def _cron_job(name: str, schedule: Schedule, settings: Schedules) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "millrace", "app.kubernetes.io/component": name}
    # The policies of deploy/kubernetes let it ask the stack's servers.
    pod = {"metadata": {"labels": {**labels, EGRESS: "servers"}}, "spec": _pod(name, schedule)}
    job = {
        # As the scheduler does: what can be mended is not tried again, a fault is once, hanging ends.
        "backoffLimit": 1,
        "activeDeadlineSeconds": int(settings.limit_hours * 3600),
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": "run", "operator": "In", "values": [2, 3]},
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": pod,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": f"millrace-{name}", "labels": labels},
        "spec": {
            "schedule": _named_weekdays(schedule.cron),
            "timeZone": settings.time_zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": DEADLINE,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": job},
        },
    }


def _pod(name: str, schedule: Schedule) -> dict[str, Any]:
    # A job has no date to put in; its name is as good to tell nights apart.
    arguments = [*arguments_of(schedule, JOB)]
    if schedule.pipeline == "retraining":
        arguments += [f"--cause={JOB}", f"--reason={name}"]
    named = {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "run",
                "image": "millrace-runner",
                "args": arguments,
                "env": [
                    {"name": "MILLRACE_JOB", "valueFrom": {"fieldRef": named}},
                    {"name": "KUBECONFIG", "value": "/kubernetes/config"},
                ],
                "envFrom": [{"secretRef": {"name": f"millrace-{schedule.stack}"}}],
                "resources": {
                    "requests": {"cpu": "500m", "memory": "1Gi"},
                    "limits": {"cpu": "1", "memory": "2Gi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "state", "mountPath": "/millrace/.millrace"},
                    {"name": "scratch", "mountPath": "/tmp"},
                    {"name": "kubernetes", "mountPath": "/kubernetes", "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "state", "emptyDir": {}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "kubernetes", "secret": {"secretName": "millrace-kubeconfig"}},
        ],
    }


def _named_weekdays(cron: str) -> str:
    """The same with weekdays one by one: here a week begins with Monday, there with Sunday."""
    *others, weekday = cron.split()
    if weekday == "*":
        return cron
    days: list[str] = []
    for part in weekday.split(","):
        first, _, last = part.partition("-")
        days += WEEKDAYS[WEEKDAYS.index(first) : WEEKDAYS.index(last or first) + 1]
    return " ".join([*others, ",".join(dict.fromkeys(days))])
