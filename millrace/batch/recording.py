"""A job's rows in the prediction log, where whoever watches the model looks for them.

A service's rows are all logged. Of a batch some are, evenly spread: a monitor's window needs no millions.
They stand there as answers of the variant `batch`, each batch as a request, at the time at which the job
began. A run that goes on with a killed one logs what that one had not.
"""

from collections.abc import Iterable, Iterator

import msgspec

from millrace.batch.output import Begun
from millrace.batch.records import Logged
from millrace.batch.rows import known_rows
from millrace.bundle import Bundle
from millrace.errors import UserError
from millrace.prediction_log import Entry, LogSettings, ModelName
from millrace.prediction_log.stores import open_log, open_store
from millrace.requests import RequestReader, write
from millrace.scoring import Scorer

VARIANT = "batch"
# Rows of the log that are read at once, and seconds that hold all rows of one moment.
READ, MOMENT = 50_000, 1e-3


def record(
    requests: Iterable[tuple[str, float, bytes]],
    bundle: Bundle,
    model: ModelName,
    settings: LogSettings,
    begun: Begun,
    compiled: bool,
) -> Logged:
    """Log batches: of each a name, the seconds it took, and rows as the body of a service's request.

    With `compiled`, trees are compiled for it, where they can be.

    A log that cannot be written does not undo the job: the answer says why.
    """
    rows = 0
    try:
        known = _known(settings, bundle, begun)
        store = open_store(settings, bundle.problem)
        try:
            store.tidy(begun.began)
            for entry in _entries(requests, bundle, model, begun, compiled):
                rows += len(entry)
                if entry.request not in known:
                    store.write([entry])
        finally:
            store.close()
    except Exception as error:
        return Logged(rows=rows, fault=f"{type(error).__name__}: {error}")
    return Logged(rows=rows)


def _entries(
    requests: Iterable[tuple[str, float, bytes]],
    bundle: Bundle,
    model: ModelName,
    begun: Begun,
    compiled: bool,
) -> Iterator[Entry]:
    reader, scorer = RequestReader(bundle.problem), Scorer(bundle.fitted)
    if compiled:
        scorer.compile(known_rows(bundle))
    for name, seconds, body in requests:
        question = reader.read(body)
        answers = write(bundle.fitted, scorer.predict(question.matrix), question.interval)
        yield Entry(begun.began, name, VARIANT, model, seconds, question, msgspec.json.encode(answers))


def _known(settings: LogSettings, bundle: Bundle, begun: Begun) -> set[str]:
    """The batches of this job that an earlier run has logged."""
    if len(begun.runs) == 1:
        return set()
    # What that run left in a spool becomes a file first.
    store = open_store(settings, bundle.problem)
    store.tidy(begun.began)
    store.close()
    try:
        log = open_log(settings.uri, bundle.problem)
    except UserError:
        return set()
    tables = log.rows(begun.began, begun.began + MOMENT, READ, features=False)
    return {str(name) for table in tables for name in table.column("_request").to_pylist()}
