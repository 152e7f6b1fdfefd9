"""Applications to ask in this process, and models that do what a test wants."""

import asyncio
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bentos.app import Application
from millrace.bundle import EXPLANATION, Bundle, FittedModel, write_json
from millrace.lineup import Lineup, Role, Variant
from millrace.scoring import Scorer


class Stub:
    """A model that takes `seconds` and then answers `value` for every row, or raises it."""

    kind = "stub"

    def __init__(self, value: float | Exception, seconds: float = 0) -> None:
        self.value = value
        self.seconds = seconds

    def predict(self, matrix: Any) -> Any:
        time.sleep(self.seconds)
        if isinstance(self.value, Exception):
            raise self.value
        return np.full(len(matrix), self.value)


def with_model(bundle: Bundle, model: Any) -> Bundle:
    """The same bundle with another model."""
    return dataclasses.replace(bundle, fitted=dataclasses.replace(bundle.fitted, model=model))


def of_another(bundle: Bundle, fitted: FittedModel, folder: Path) -> Bundle:
    """The bundle's files, but for what is of its columns, in `folder` around another problem's model."""
    shutil.copytree(bundle.folder, folder)
    write_json(folder / EXPLANATION, [])
    return dataclasses.replace(bundle, folder=folder, fitted=fitted)


def variant(role: Role, bundle: Bundle, version: str = "abc") -> Variant:
    """A bundle that serves."""
    return Variant(role, "served_houses", version, bundle, Scorer(bundle.fitted))


def application(bundle: Bundle, **options: Any) -> Application:
    """A bundle that serves alone."""
    return Application(Lineup(variant("champion", bundle)), **options)


class Client:
    """Asks an application in this process."""

    def __init__(self, app: Application) -> None:
        self.app = app

    def get(self, path: str, **content: Any) -> httpx.Response:
        """Ask by GET."""
        return asyncio.run(self.ask("GET", path, **content))

    def post(self, path: str, **content: Any) -> httpx.Response:
        """Ask by POST."""
        return asyncio.run(self.ask("POST", path, **content))

    async def ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Ask by any method."""
        async with connect(self.app) as client:
            return await client.request(method, path, **content)


def connect(app: Any) -> httpx.AsyncClient:
    """A client of an application in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
