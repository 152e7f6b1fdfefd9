# ruff: noqa: E402, F401
"""What the process that commands are forked from imports: libraries, and nothing done with them."""

import gc
import logging
import os

from stacks import environment

# Where a command keeps its state is its own business; what libraries read when imported is set here.
_places = ("MILLRACE_HOME", "ZENML_CONFIG_PATH", "BENTOML_HOME")
os.environ.update({name: v for name, v in environment.variables().items() if name not in _places})

from stacks import quickstart

quickstart.import_mlflow()
# As stacks/start.py has it: what it imports is told there, too.
logging.getLogger("great_expectations").setLevel(logging.ERROR)

import bentoml.models
import great_expectations
import lightgbm
import matplotlib.figure
import mlflow.pyfunc
import mlflow.store.tracking.sqlalchemy_store
import shap
import sklearn.ensemble
import sqlalchemy.orm
import zenml.client
import zenml.deployers
import zenml.pipelines
import zenml.zen_stores.sql_zen_store

import millrace.quality.by_great_expectations
import millrace.selection

# Done by the first query of every process.
sqlalchemy.orm.configure_mappers()
# A million objects that stay: no fork is to look for garbage among them, which would also copy their pages.
gc.freeze()
