"""The service's HTTP: one ASGI application around the bundles that serve.

A prediction asked as JSON takes the short way: no framework's request, routing or response. Everything
else goes through Starlette. Both have the same errors, keys, headers and counters.
"""

import logging
import re
from collections.abc import Iterable
from itertools import count
from math import nan
from secrets import token_hex
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.concurrency import run_in_threadpool

from bentos.access import Gate, Scope
from bentos.bodies import BODY_SECONDS, JSON, BodyReader, Headers, media_type, need
from bentos.live import Live
from bentos.records import Records
from bentos.refusals import MEDIA_TYPE, Refused, not_allowed, refusal
from bentos.routes import make_routes
from bentos.shadow import Shadow, Task
from millrace.explanation import most_explained
from millrace.intervals import HIGHEST, LOWEST
from millrace.lineup import Lineup, Variant
from millrace.prediction_log import FeedbackReader
from millrace.request_tables import MEDIA_TYPES, as_request, read_table, write_table
from millrace.requests import SHOWN, InvalidRequest, Question

log = logging.getLogger("millrace.service")
PREDICT = "/v1/predict"
ACCEPTED = (JSON, *MEDIA_TYPES)
# A larger body, of more than some hundred rows, is answered in a thread, so that others need not wait.
INLINE_LIMIT = 16 * 2**10
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
# No browser is to guess what an answer is, or keep it.
COMMON = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
Pairs = list[tuple[bytes, bytes]]


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A request for predictions, before its rows are read; `began` is of `perf_counter`."""

    body: bytes
    media: str
    headers: Headers
    query: bytes
    request: str
    began: float


class Scored(msgspec.Struct, frozen=True, gc=False):
    """Who answered, and what: the JSON list of one answer a row."""

    variant: Variant
    predictions: Any
    answers: bytes


class Application:
    """Answers for a lineup, which may be replaced at any moment: `live` is read once a request."""

    def __init__(
        self,
        lineup: Lineup,
        *,
        gate: Gate | None = None,
        origins: Iterable[str] = (),
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        """`gate` asks for API keys; pages of `origins` may call from a browser.

        A body has to come within `body_seconds`.
        """
        self.live = Live.of(lineup)
        self.gate = gate
        self.bodies = BodyReader(body_seconds)
        self.records: Records | None = None
        self._shadow: Shadow | None = None
        self._origins = {origin.encode() for origin in origins}
        self._others = make_routes(self)
        # Unlike that of any other worker or start, and cheaper than a random one a request.
        self._prefix, self._number = token_hex(6), count()

    def keep(self, records: Records) -> None:
        """Record from now on what is answered; called once a worker, before its first request."""
        self.records = records
        records.serving(self.live.lineup)
        self._shadow = Shadow(records, self._switch_off)
        self._shadow.start()

    def take_over(self, lineup: Lineup) -> None:
        """Let another lineup answer from now on: all of it, or nothing if this raises.

        Raises:
            UserError: its variants do not take the same requests.
        """
        live = Live.of(lineup)
        if self.records is not None:
            self.records.serving(lineup)
        self.live = live

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        began = perf_counter()
        headers: Headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        fits = given and REQUEST_ID.fullmatch(given)
        request = given.decode() if fits else f"{self._prefix}-{next(self._number):x}"
        extra = [*COMMON, (b"x-request-id", request.encode())]
        origin = headers.get(b"origin")
        if origin is not None and origin in self._origins:
            extra += [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
            if scope["method"] == "OPTIONS":
                await _send(send, 204, b"", [*extra, *_preflight()])
                return
        if scope["path"] != PREDICT:
            await self._others(scope, receive, self._watched(send, scope, extra, began))
            return
        status = await self._predict(scope, headers, request, extra, began, receive, send)
        if self.records is not None:
            self.records.metrics.answered(PREDICT, status, perf_counter() - began)

    async def _predict(
        self, scope: Any, headers: Headers, request: str, extra: Pairs, began: float, receive: Any, send: Any
    ) -> int:
        try:
            if scope["method"] != "POST":
                raise not_allowed(PREDICT, "POST", scope["method"])
            self.admit(headers, "predict")
            media = media_type(headers)
            need(media, ACCEPTED)
            body = await self.bodies.read(headers, receive)
            asked = Asked(body, media, headers, scope["query_string"], request, began)
            kind = JSON
            if media != JSON:
                content, kind = await run_in_threadpool(self.answer_table, asked)
            elif len(body) <= INLINE_LIMIT:
                content = self.answer(asked)
            else:
                content = await run_in_threadpool(self.answer, asked)
        except Exception as error:
            refused = self.refuse(error)
            named = [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
            await _send(send, refused.status, refused.body, [*extra, *named], MEDIA_TYPE)
            return refused.status
        await _send(send, 200, content, extra, kind)
        return 200

    def admit(self, headers: Headers, scope: Scope) -> None:
        """Ask for a key that opens `scope`, if keys are asked for.

        Raises:
            Denied: there is none.
        """
        if self.gate is not None:
            shown = headers.get(b"authorization", b"").decode("latin-1")
            self.gate.admit(shown.removeprefix("Bearer ") if shown.startswith("Bearer ") else None, scope)

    def refuse(self, error: Exception) -> Refused:
        """The error that a request gets for what happened, counted."""
        refused = refusal(error)
        if self.records is not None:
            self.records.metrics.refused(refused.kind)
        # Whoever holds it must not hold the frames that it went through, and the body in them.
        return refused.with_traceback(None)

    def answer(self, asked: Asked) -> bytes:
        """The answer to a JSON request, as JSON.

        Raises:
            InvalidRequest: it is not what the contract allows.
        """
        live = self.live
        question = live.reader.read(asked.body)
        if asked.query:
            level = _level(asked.query)
            if question.interval is None:
                question = msgspec.structs.replace(question, interval=level)
        return _told(live, self._score(live, question, asked))

    def answer_table(self, asked: Asked) -> tuple[bytes, str]:
        """The same for a table: as JSON, or where `Accept` names a table's type, the rows with their answers.

        Raises:
            InvalidRequest: it is no table, or not what the contract allows.
        """
        live = self.live
        table = read_table(asked.body, asked.media)
        level = _level(asked.query)
        question = live.reader.read(as_request(table, live.lineup.champion.bundle.problem, level))
        scored = self._score(live, question, asked)
        accept = asked.headers.get(b"accept", b"").decode("latin-1").lower()
        wanted = next((media for media in MEDIA_TYPES if media in accept), None)
        if wanted is None:
            return _told(live, scored), JSON
        for name, values in scored.variant.bundle.fitted.columns(scored.predictions, level).items():
            table = table.append_column(name, [values])
        return write_table(table, wanted), wanted

    def explain(self, body: bytes) -> bytes:
        """What made the champion's prediction of each row of a JSON request, as JSON.

        Raises:
            InvalidRequest: it is not what the contract allows, or has too many rows.
        """
        live = self.live
        champion, question = live.lineup.champion, live.reader.read(body)
        rows, most = len(question.matrix), most_explained(champion.bundle.fitted.model)
        if rows > most:
            raise InvalidRequest(f"This model explains at most {most} rows at once, not {rows:,}.", "rows")
        found = champion.scorer.explain(question.matrix)
        explanations = [found.for_row(row).model_dump() for row in range(rows)]
        named = msgspec.Raw(live.identities["champion"])
        return msgspec.json.encode({"explanations": explanations, "model": named})

    def learn_outcomes(self, body: bytes) -> bytes:
        """Keep what turned out to be true of rows; returns what is said to that.

        Raises:
            InvalidRequest: it is not what the contract allows.
            Refused: 503, there is no log, or no place in it.
        """
        outcomes = FeedbackReader(self.live.lineup.champion.bundle.problem).read(body)
        if self.records is None or not self.records.outcomes(outcomes):
            raise Refused(
                503, "No feedback can be kept now; send it again later.", "other", {"Retry-After": "5"}
            )
        return msgspec.json.encode({"accepted": len(outcomes)})

    def _score(self, live: Live, question: Question, asked: Asked) -> Scored:
        """Ask who is to answer. A challenger that fails is switched off, and the champion answers."""
        lineup = live.lineup
        variant = self._choose(lineup, question, asked)
        try:
            predictions, answers = variant.answer(question)
        except Exception:
            if variant is lineup.champion:
                raise
            log.exception("The %s failed and is switched off: %s", variant.role, variant.identity)
            self._switch_off(variant)
            variant = lineup.champion
            predictions, answers = variant.answer(question)
        if self.records is not None:
            self.records.predicted(variant, question, answers, asked.request, asked.began)
            if self._shadow is not None and lineup.shadow is not None:
                self._shadow.offer(Task(lineup.shadow, question, asked.request))
        return Scored(variant, predictions, answers)

    def _choose(self, lineup: Lineup, question: Question, asked: Asked) -> Variant:
        if lineup.challenger is None:
            return lineup.champion
        named = asked.headers.get(b"x-millrace-variant")
        if named is not None:
            for variant in (lineup.champion, lineup.challenger):
                if named == variant.role.encode():
                    return variant
            raise Refused(422, "'X-Millrace-Variant' must be 'champion' or 'challenger'.", "variant")
        key = asked.headers.get(b"x-millrace-key") or (question.keys[0] or asked.request).encode()
        return lineup.choose(key)

    def _switch_off(self, variant: Variant) -> None:
        """Go on without a challenger or a shadow, if it still serves."""
        if variant in self.live.lineup.variants:
            self.take_over(self.live.lineup.without(variant))

    def _watched(self, send: Any, scope: Any, extra: Pairs, began: float) -> Any:
        """A `send` that adds headers and counts the answer."""

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(item for item in extra if item[0] not in given)]
                if self.records is not None:
                    seconds = perf_counter() - began
                    self.records.metrics.answered(scope["path"], message["status"], seconds)
            await send(message)

        return sending


def _told(live: Live, scored: Scored) -> bytes:
    return b'{"predictions":%b,"model":%b}' % (scored.answers, live.identities[scored.variant.role])


def _level(query: bytes) -> float | None:
    """The level that a query string asks for, as a body may."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("interval", [])[-1:]
    if not given:
        return None
    try:
        level, rule = float(given[0]), "range"
    except ValueError:
        level, rule = nan, "type"
    if LOWEST <= level <= HIGHEST:
        return level
    sent = given[0][:SHOWN]
    message = f"'interval' must be a number from {LOWEST} to {HIGHEST}, not {sent}."
    raise InvalidRequest(message, rule, field="interval", value=sent)


def _preflight() -> Pairs:
    return [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"authorization, content-type, x-request-id, x-millrace-key"),
        (b"access-control-max-age", b"600"),
    ]


async def _send(send: Any, status: int, body: bytes, headers: Pairs, kind: str | None = None) -> None:
    about = [(b"content-length", b"%d" % len(body)), *headers]
    if kind is not None:
        about.append((b"content-type", kind.encode()))
    await send({"type": "http.response.start", "status": status, "headers": about})
    await send({"type": "http.response.body", "body": body})
