"""Who computes what is too much for one pass through memory: this process, or a Dask cluster."""

from typing import Literal

from millrace.strict import Strict

EngineName = Literal["local", "dask"]


class EngineChoice(Strict):
    """An engine's name, and the address of Dask's scheduler; without one, a cluster is started here."""

    name: EngineName = "local"
    scheduler: str | None = None
