"""A bounded load on a service of this machine, and what came of every request."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Load:
    """`clients` ask one request after the other, each on its own connection, until `stopped` or the limit."""

    port: int
    body: dict[str, Any]
    clients: int = 8
    limit: int = 20_000
    outcomes: Counter[str] = field(default_factory=Counter)
    answers: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False

    async def run(self) -> None:
        """Ask until told to stop."""
        await asyncio.gather(*(self._ask_on() for _ in range(self.clients)))

    async def _ask_on(self) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30) as client:
            while not self.stopped and self.outcomes.total() < self.limit:
                await self._ask(client)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        try:
            answer = await client.post("/v1/predict", json=self.body)
        except httpx.ConnectError:
            # Nobody listens: the request was never sent.
            self.outcomes["not connected"] += 1
            await asyncio.sleep(0.05)
        except httpx.TransportError as error:
            self.outcomes[type(error).__name__] += 1
        else:
            self.outcomes[str(answer.status_code)] += 1
            if answer.status_code == 200:
                self.answers.append(answer.json()["model"])
