"""Bundles to serve."""

from tests.bentos.conftest import iris_folder as iris_folder
