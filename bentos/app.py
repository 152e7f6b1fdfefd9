"""The service's HTTP: one ASGI application around the bundles that serve.

A prediction asked as JSON takes the short way: no framework's request, routing or response. Everything
else goes through Starlette. Both have the same errors, keys and headers.
"""

import logging
import re
from collections.abc import Iterable
from itertools import count
from secrets import token_hex
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec
from starlette.concurrency import run_in_threadpool

from bentos.access import Gate, Scope
from bentos.bodies import JSON, Headers, media_type, need, read_body
from bentos.live import Live
from bentos.refusals import MEDIA_TYPE, Refused, not_allowed, refusal
from bentos.routes import make_routes
from millrace.lineup import Lineup, Variant
from millrace.metrics import Floats
from millrace.request_tables import MEDIA_TYPES, as_request, read_table, write_table
from millrace.requests import MAX_EXPLAINED, SHOWN, InvalidRequest, Question, write

log = logging.getLogger("millrace.service")
PREDICT = "/v1/predict"
# A larger body, of more than some hundred rows, is answered in a thread, so that others need not wait.
INLINE_LIMIT = 16 * 2**10
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
# No browser is to guess what an answer is, or keep it.
COMMON = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


class Asked(NamedTuple):
    """A request for predictions, before its rows are read."""

    body: bytes
    media: str
    headers: Headers
    query: bytes
    request_id: bytes


class Application:
    """Answers for a lineup, which may be replaced at any moment: `live` is read once a request."""

    def __init__(self, lineup: Lineup, *, gate: Gate | None = None, origins: Iterable[str] = ()) -> None:
        """`gate` asks for API keys; pages of `origins` may call from a browser."""
        self.live = Live.of(lineup)
        self.gate = gate
        self._origins = {origin.encode() for origin in origins}
        self._others = make_routes(self)
        # Unlike that of any other worker or start, and cheaper than a random one a request.
        self._prefix, self._number = token_hex(6), count()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        headers: Headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        fits = given and REQUEST_ID.fullmatch(given)
        request_id = given if fits else f"{self._prefix}-{next(self._number):x}".encode()
        extra = [*COMMON, (b"x-request-id", request_id)]
        origin = headers.get(b"origin")
        if origin is not None and origin in self._origins:
            extra += [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
            if scope["method"] == "OPTIONS":
                await _send(send, 204, b"", [*extra, *_preflight()])
                return
        if scope["path"] == PREDICT:
            await self._predict(scope, headers, request_id, extra, receive, send)
        else:
            await self._others(scope, receive, _with_headers(send, extra))

    async def _predict(
        self,
        scope: Any,
        headers: Headers,
        request_id: bytes,
        extra: list[tuple[bytes, bytes]],
        receive: Any,
        send: Any,
    ) -> None:
        try:
            if scope["method"] != "POST":
                raise not_allowed(PREDICT, "POST", scope["method"])
            self.admit(headers, "predict")
            media = media_type(headers)
            need(media, (JSON, *MEDIA_TYPES))
            body = await read_body(headers, receive)
            asked = Asked(body, media, headers, scope["query_string"], request_id)
            kind = JSON
            if media != JSON:
                content, kind = await run_in_threadpool(self.answer_table, asked)
            elif len(body) <= INLINE_LIMIT:
                content = self.answer(asked)
            else:
                content = await run_in_threadpool(self.answer, asked)
        except Exception as error:
            refused = refusal(error)
            named = [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
            await _send(send, refused.status, refused.body, [*extra, *named], MEDIA_TYPE)
        else:
            await _send(send, 200, content, extra, kind)

    def admit(self, headers: Headers, scope: Scope) -> None:
        """Ask for a key that opens `scope`, if keys are asked for.

        Raises:
            Denied: there is none.
        """
        if self.gate is not None:
            shown = headers.get(b"authorization", b"").decode("latin-1")
            self.gate.admit(shown.removeprefix("Bearer ") if shown.startswith("Bearer ") else None, scope)

    def answer(self, asked: Asked) -> bytes:
        """The answer to a JSON request, as JSON.

        Raises:
            InvalidRequest: it is not what the contract allows.
        """
        live = self.live
        question = live.reader.read(asked.body)
        variant, predictions = self._score(live, question, asked)
        answers = write(variant.bundle.fitted, predictions, question.interval)
        return msgspec.json.encode({"predictions": answers, "model": live.identities[variant.role]})

    def answer_table(self, asked: Asked) -> tuple[bytes, str]:
        """The same for a table: as JSON, or where `Accept` names a table's type, the rows with their answers.

        Raises:
            InvalidRequest: it is no table, or not what the contract allows.
        """
        live = self.live
        table = read_table(asked.body, asked.media)
        level = _level(asked.query)
        question = live.reader.read(as_request(table, live.lineup.champion.bundle.problem, level))
        variant, predictions = self._score(live, question, asked)
        accept = asked.headers.get(b"accept", b"").decode("latin-1").lower()
        wanted = next((media for media in MEDIA_TYPES if media in accept), None)
        if wanted is None:
            answers = write(variant.bundle.fitted, predictions, level)
            return msgspec.json.encode({"predictions": answers, "model": live.identities[variant.role]}), JSON
        for name, values in variant.bundle.fitted.columns(predictions, level).items():
            table = table.append_column(name, [values])
        return write_table(table, wanted), wanted

    def explain(self, body: bytes) -> bytes:
        """What made each prediction of a JSON request, as JSON.

        Raises:
            InvalidRequest: it is not what the contract allows, or has too many rows.
        """
        live = self.live
        question = live.reader.read(body)
        rows = len(question.rows)
        if rows > MAX_EXPLAINED:
            raise InvalidRequest(f"At most {MAX_EXPLAINED} rows are explained at once, not {rows:,}.", "rows")
        found = live.lineup.champion.scorer.explain(question.matrix)
        explanations = [found.for_row(row).model_dump() for row in range(len(found.values))]
        return msgspec.json.encode({"explanations": explanations, "model": live.identities["champion"]})

    def _score(self, live: Live, question: Question, asked: Asked) -> tuple[Variant, Floats]:
        """Who answers, and what. A challenger that fails is switched off, and the champion answers."""
        variant = self._choose(live, asked)
        try:
            return variant, variant.predict(question)
        except Exception:
            if variant is live.lineup.champion:
                raise
            log.exception("The %s failed and is switched off: %s", variant.role, variant.identity)
            self.live = Live.of(live.lineup.without(variant))
            return live.lineup.champion, live.lineup.champion.predict(question)

    def _choose(self, live: Live, asked: Asked) -> Variant:
        lineup = live.lineup
        if lineup.challenger is None:
            return lineup.champion
        named = asked.headers.get(b"x-millrace-variant")
        if named is not None:
            found = [variant for variant in lineup.variants if variant.role.encode() == named]
            if not found or found[0] is lineup.shadow:
                raise Refused(422, "'X-Millrace-Variant' must be 'champion' or 'challenger'.", "variant")
            return found[0]
        return lineup.choose(asked.headers.get(b"x-millrace-key") or asked.request_id)


def _level(query: bytes) -> float | None:
    given = parse_qs(query.decode("latin-1")).get("interval", [])[-1:]
    try:
        return float(given[0]) if given else None
    except ValueError:
        sent = given[0][:SHOWN]
        message = f"'interval' must be a number, not {sent!r}."
        raise InvalidRequest(message, "type", field="interval", value=sent) from None


def _preflight() -> list[tuple[bytes, bytes]]:
    return [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"authorization, content-type, x-request-id, x-millrace-key"),
        (b"access-control-max-age", b"600"),
    ]


async def _send(
    send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]], kind: str | None = None
) -> None:
    about = [(b"content-length", b"%d" % len(body)), *headers]
    if kind is not None:
        about.append((b"content-type", kind.encode()))
    await send({"type": "http.response.start", "status": status, "headers": about})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Any, extra: list[tuple[bytes, bytes]]) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            given = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(item for item in extra if item[0] not in given)]
        await send(message)

    return sending
