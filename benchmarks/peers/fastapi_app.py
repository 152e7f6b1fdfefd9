"""FastAPI with a Pydantic model of the contract's ranges, around the same predictor."""

import os
from pathlib import Path

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, Field, create_model

from millrace.bundle import FittedModel
from millrace.scoring import Scorer

fitted = FittedModel.load(Path(os.environ["BUNDLE"]))
scorer = Scorer(fitted)
names = list(fitted.problem.inputs)
fields = {
    name: (float, Field(ge=column.range[0], le=column.range[1]))
    for name, column in fitted.problem.inputs.items()
    if column.range
}
Row = create_model("Row", **fields)  # type: ignore[call-overload]
app = FastAPI()


class Body(BaseModel):
    rows: list[Row]  # type: ignore[valid-type]


@app.post("/predict")
async def predict(body: Body) -> dict[str, list[float]]:
    matrix = np.array([[getattr(row, name) for name in names] for row in body.rows])
    return {"predictions": scorer.predict(matrix).tolist()}
