"""Bundles to serve, and images and a cloud to deploy to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bentos.conftest import iris_folder as iris_folder
from tests.containers import image_store
from tests.targets.staging_cloud import applied as applied
from tests.targets.staging_cloud import cloud as cloud


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an image store of this module's own."""
    folder = tmp_path_factory.mktemp("containers")
    with image_store(folder):
        yield folder
