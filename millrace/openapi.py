"""The OpenAPI 3.1 document of a service, derived from its bundle's contract."""

from typing import Any

from millrace.bundle import SELFTEST, Bundle
from millrace.contract import Problem
from millrace.explanation import most_explained
from millrace.form import example_rows
from millrace.prediction_log import FeedbackReader
from millrace.request_tables import MEDIA_TYPES
from millrace.requests import MAX_ROWS, RequestReader

Schema = dict[str, Any]
JSON, PROBLEM = "application/json", "application/problem+json"
PLACE = "#/components/schemas/{name}"
EXAMPLES = 2
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer"}
REFUSALS = {
    "400": "The body is not JSON, or not a table of its type.",
    "401": "The API key is missing or unknown.",
    "403": "The API key does not open this.",
    "408": "The body has come too slowly.",
    "413": "The body is too large.",
    "415": "The body is of a type that is not taken here.",
    "422": "The rows break the contract; `errors` names row, field, rule and value.",
    "429": "The API key has made more requests than it may.",
    "500": "The service failed; its log says why.",
}


def openapi(bundle: Bundle, reader: RequestReader) -> Schema:
    """Every path that the service has, with the contract's schemas and the bundle's self-test as examples."""
    problem = bundle.problem
    request, schemas = reader.schemas(PLACE)
    feedback, of_feedback = FeedbackReader(problem).schemas(PLACE)
    schemas |= of_feedback
    row = next(schema for name, schema in schemas.items() if name == "Row")
    row["examples"] = _examples(bundle)
    schemas |= {
        "Prediction": _prediction(problem),
        "Model": _object({"name": TEXT, "version": TEXT, "digest": TEXT}),
        "Explanation": _explanation(),
        "Problem": _problem(),
    }
    example = {"rows": _examples(bundle)[:1]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": problem.title,
            "summary": f"Predictions of {problem.target.name}.",
            "description": problem.description,
            "version": "1",
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": _paths(request, example, (feedback, _outcome(bundle)), most_explained(bundle.fitted.model)),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "an API key"}},
        },
        # With or without: where no keys are set, none is asked for.
        "security": [{}, {"key": []}],
    }


def _paths(request: Schema, example: Any, feedback: tuple[Schema, Any], explained: int) -> Schema:
    table = {media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES}
    rows: Schema = {"content": {JSON: {"schema": request, "example": example}}, "required": True}
    answers = _object(
        {
            "predictions": {"type": "array", "items": _ref("Prediction")},
            "model": _ref("Model"),
        }
    )
    explanations = _object(
        {"explanations": {"type": "array", "items": _ref("Explanation")}, "model": _ref("Model")}
    )
    predict = _operation("predict", f"Predict 1 to {MAX_ROWS:,} rows", answers, REFUSALS)
    predict["requestBody"] = {"content": {**rows["content"], **table}, "required": True}
    predict["responses"]["200"]["content"] |= table
    predict["parameters"] = [
        {
            "name": "interval",
            "in": "query",
            "description": "the level, where the body does not say it",
            "schema": {"type": "number", "minimum": 0.5, "maximum": 0.99},
        }
    ]
    explain = _operation("explain", f"Explain 1 to {explained} rows", explanations, REFUSALS)
    fewer = {**request, "properties": {"rows": {"maxItems": explained}}}
    explain["requestBody"] = {"content": {JSON: {"schema": fewer, "example": example}}, "required": True}
    learn = _operation("feedback", "Tell what turned out to be true", _object({"accepted": COUNT}), REFUSALS)
    outcomes = {"schema": feedback[0], "example": {"outcomes": [feedback[1]]}}
    learn["requestBody"] = {"content": {JSON: outcomes}, "required": True}
    learn["responses"]["202"] = learn["responses"].pop("200")
    learn["responses"] |= _refused({"503": "No feedback can be kept now."})
    got = {name: REFUSALS[name] for name in ("401", "403", "429")}
    return {
        "/v1/predict": {"post": predict},
        "/v1/explain": {"post": explain},
        "/v1/feedback": {"post": learn},
        "/v1/model": {"get": _operation("model", "What serves, and how good it is", {"type": "object"})},
        "/v1/schema": {"get": _operation("schema", "JSON Schema of a request", {"type": "object"})},
        "/v1/form": {"get": _operation("form", "The fields of a form, with an example", {"type": "object"})},
        "/v1/card": {"get": _text("card", "The model card", "text/html", "text/markdown")},
        "/openapi.json": {"get": _operation("openapi", "This document", {"type": "object"})},
        "/metrics": {"get": _text("metrics", "Counters for Prometheus", "text/plain", refusals=got)},
        "/livez": {"get": _operation("livez", "Whether the process runs", {"type": "object"})},
        "/readyz": {
            "get": _operation(
                "readyz", "Whether it can answer", {"type": "object"}, {"503": "It cannot answer now."}
            )
        },
    }


def _operation(name: str, summary: str, answer: Schema, refusals: dict[str, str] | None = None) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": {JSON: {"schema": answer}}},
            **_refused(refusals or {}),
        },
    }


def _text(name: str, summary: str, *types: str, refusals: dict[str, str] | None = None) -> Schema:
    content = {media: {"schema": TEXT} for media in types}
    responses = {"200": {"description": "The answer.", "content": content}, **_refused(refusals or {})}
    return {"operationId": name, "summary": summary, "responses": responses}


def _refused(refusals: dict[str, str]) -> Schema:
    content = {PROBLEM: {"schema": _ref("Problem")}}
    return {status: {"description": about, "content": content} for status, about in refusals.items()}


def _prediction(problem: Problem) -> Schema:
    if not problem.classes:
        end = {"type": ["number", "null"]}
        interval = {"type": "array", "prefixItems": [end, end], "minItems": 2, "maxItems": 2}
        about = {**NUMBER, "description": f"{problem.target.meaning} [{problem.target.unit}]"}
        return _object({"prediction": about, "interval": interval}, optional=("interval",))
    label = {"enum": list(problem.classes)}
    chances = _object({name: {**NUMBER, "minimum": 0, "maximum": 1} for name in problem.classes})
    members = {"type": "array", "items": label}
    return _object({"prediction": label, "probabilities": chances, "set": members}, optional=("set",))


def _explanation() -> Schema:
    output = _object(
        {
            "name": TEXT,
            "base": NUMBER,
            "prediction": NUMBER,
            "contributions": {"type": "object", "additionalProperties": NUMBER},
        }
    )
    return _object({"scale": TEXT, "outputs": {"type": "array", "items": output}})


def _problem() -> Schema:
    """As RFC 9457 has it, with what is wrong with each row."""
    fault = _object(
        {
            "row": {"type": ["integer", "null"]},
            "field": {"type": ["string", "null"]},
            "rule": TEXT,
            "value": {},
        }
    )
    named = {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT}
    return _object({**named, "errors": {"type": "array", "items": fault}}, optional=("errors",))


def _examples(bundle: Bundle) -> list[dict[str, Any]]:
    problem = bundle.problem
    rows = example_rows(bundle)[:EXAMPLES]
    return [{name: row[name] for name in problem.features if row.get(name) is not None} for row in rows]


def _outcome(bundle: Bundle) -> dict[str, Any]:
    """What may turn out to be true of a request's first row."""
    problem = bundle.problem
    actual = problem.classes[0] if problem.classes else bundle.read(SELFTEST)["predictions"][0]
    boolean = problem.target.type == "boolean"
    return {"request": "4f1c", "row": 0, "actual": actual == "true" if boolean else actual}


def _object(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _ref(name: str) -> Schema:
    return {"$ref": PLACE.format(name=name)}
