"""Plain Starlette around the same predictor: no validation, no metrics, no log."""

import json
import os
from pathlib import Path

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from millrace.bundle import FittedModel
from millrace.scoring import Scorer

fitted = FittedModel.load(Path(os.environ["BUNDLE"]))
scorer = Scorer(fitted)
names = list(fitted.problem.inputs)


async def predict(request: Request) -> JSONResponse:
    rows = json.loads(await request.body())["rows"]
    matrix = np.array([[row[name] for name in names] for row in rows], dtype=float)
    return JSONResponse({"predictions": scorer.predict(matrix).tolist()})


app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
