"""A small bundle with a column of every type, and the BentoML model and Bento made of it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from millrace.bundle import METRICS, PROVENANCE, FittedModel, seal, write_json
from millrace.contract import Problem, parse_problem
from millrace.features import encode_target, fit_features
from millrace.models import TrainingRows, fit_model
from millrace.models.boosting import LightGBMSettings
