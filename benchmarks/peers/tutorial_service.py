"""BentoML as its tutorials have it: a DataFrame in, the model's own predict, one worker."""

import os
from pathlib import Path

import bentoml
import pandas as pd

from millrace.bundle import FittedModel


@bentoml.service(workers=1)
class Tutorial:
    def __init__(self) -> None:
        self.fitted = FittedModel.load(Path(os.environ["BUNDLE"]))

    @bentoml.api(route="/predict")
    def predict(self, rows: pd.DataFrame) -> list[float]:
        return self.fitted.predict(rows).tolist()
