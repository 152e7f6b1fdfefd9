"""Bundles to serve, and a cloud to deploy to."""

from tests.bentos.conftest import iris_folder as iris_folder
from tests.targets.staging_cloud import applied as applied
from tests.targets.staging_cloud import cloud as cloud
