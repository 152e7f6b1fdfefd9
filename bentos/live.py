"""What a lineup answers with besides predictions: everything that stays the same while it serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from bentos.bodies import JSON
from millrace.bundle import CARD, CARD_MARKDOWN, METRICS, PROVENANCE, SPLIT
from millrace.card import shown
from millrace.explanation import input_shares, most_explained
from millrace.form import read_form
from millrace.lineup import Lineup, Role, Variant
from millrace.openapi import openapi
from millrace.requests import RequestReader

CARD_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Document(NamedTuple):
    """A constant answer."""

    content: bytes
    media_type: str
    headers: Mapping[str, str] = {}


@dataclass(frozen=True)
class Live:
    """A lineup, the reader of its requests, its constant documents, and its variants' names as JSON."""

    lineup: Lineup
    reader: RequestReader
    documents: Mapping[str, Document]
    card_text: Document
    identities: Mapping[Role, bytes]

    @classmethod
    def of(cls, lineup: Lineup) -> "Live":
        """Prepare a lineup to serve."""
        lineup.check()
        bundle = lineup.champion.bundle
        reader = RequestReader(bundle.problem)
        # The page loads nothing; a browser is told to see to it.
        policy = {"Vary": "Accept", "Content-Security-Policy": CARD_POLICY}
        documents = {
            "/v1/model": _json(_facts(lineup)),
            "/v1/schema": _json(reader.schema()),
            "/v1/form": _json(read_form(bundle).model_dump(mode="json")),
            "/openapi.json": _json(openapi(bundle, reader)),
            "/v1/card": Document(shown(bundle.folder, CARD).encode(), "text/html; charset=utf-8", policy),
        }
        markdown = shown(bundle.folder, CARD_MARKDOWN).encode()
        card_text = Document(markdown, "text/markdown; charset=utf-8", policy)
        identities = {
            variant.role: msgspec.json.encode(variant.identity._asdict()) for variant in lineup.variants
        }
        return cls(lineup, reader, documents, card_text, identities)


def _json(content: Any) -> Document:
    return Document(msgspec.json.encode(content), JSON)


def _facts(lineup: Lineup) -> dict[str, Any]:
    """The champion, whole, and who serves beside it."""
    split = lineup.share if lineup.challenger else 0.0
    shares = {"champion": 1 - split, "challenger": split, "shadow": 0.0}
    variants = [
        {
            "variant": variant.role,
            "share": shares[variant.role],
            **variant.identity._asdict(),
            **_scores(variant),
        }
        for variant in lineup.variants
    ]
    return {**lineup.champion.identity._asdict(), **_about(lineup.champion), "variants": variants}


def _about(variant: Variant) -> dict[str, Any]:
    bundle = variant.bundle
    provenance = bundle.read(PROVENANCE)
    return {
        "title": bundle.problem.title,
        "task": bundle.problem.task,
        "target": bundle.problem.target.model_dump(include={"name", "unit", "meaning"}),
        **({"threshold": bundle.fitted.threshold} if bundle.problem.task == "binary" else {}),
        "importance": input_shares(bundle),
        "split": bundle.read(SPLIT),
        "explained_rows": most_explained(bundle.fitted.model),
        "synthetic": bundle.problem.synthetic,
        "trained": {name: provenance[name] for name in ("created", "data", "git_revision", "run")},
        **_scores(variant),
    }


def _scores(variant: Variant) -> dict[str, Any]:
    evaluation = variant.bundle.read(METRICS)["evaluation"]
    return {"evaluation": {name: evaluation[name] for name in ("metric_name", "rows", "metrics")}}
