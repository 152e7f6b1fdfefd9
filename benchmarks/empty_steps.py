"""A pipeline that does nothing, many times: what is left is the framework."""

from zenml import pipeline, step


@step
def increase(number: int) -> int:
    """Do next to nothing."""
    return number + 1


# The options of configs/training.yaml.
@pipeline(enable_cache=False, enable_heartbeat=False, enable_step_logs=False)
def chain(length: int) -> None:
    """Steps that wait for one another, as ours do."""
    number = increase(0)
    for _ in range(length - 1):
        number = increase(number)
