"""What each pipeline makes of the command line.

One module a pipeline, whose `prepare(arguments, configs)` checks everything that is cheap to check, with the
problems and stacks of the folder `configs`, and returns what is to be run.
"""

from commands import (
    deployment,
    experiment,
    forgetting,
    inference,
    monitoring,
    profiling,
    promotion,
    retraining,
    simulation,
    training,
)

PIPELINES = {
    "training": training.prepare,
    "profiling": profiling.prepare,
    "promotion": promotion.prepare,
    "inference": inference.prepare,
    "monitoring": monitoring.prepare,
    "retraining": retraining.prepare,
    "simulation": simulation.prepare,
    "experiment": experiment.prepare,
    "forgetting": forgetting.prepare,
    "deployment": deployment.prepare,
}
# They know nothing of ZenML: no store is opened for them.
WITHOUT_STORE = frozenset({"simulation"})
