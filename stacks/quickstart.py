"""Two things ZenML 0.98 does that cost seconds and that we do not need.

Both replace a function of a library from outside; tests/stacks/test_quickstart.py fails when a new
ZenML makes them needless or wrong.
"""

import functools
import importlib.metadata


def apply() -> None:
    """Make ZenML's start and steps quick; calling it again changes nothing."""
    from zenml.integrations.registry import IntegrationRegistry

    # ZenML asks about once a step which distribution each module belongs to, 0.2 s each time, and
    # what is installed does not change during a run.
    if not hasattr(importlib.metadata.packages_distributions, "cache_info"):
        memoised = functools.lru_cache(importlib.metadata.packages_distributions)
        importlib.metadata.packages_distributions = memoised
    # Before each run it imports every integration that is installed (mlflow, bentoml, lightgbm: 3-10 s)
    # to register their materializers. We name ours; flavors of stack components load when used.
    IntegrationRegistry.activate_integrations = _nothing


def _nothing(_: object) -> None:
    """Activate no integration."""
