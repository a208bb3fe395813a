"""What schemathesis is told of the HTTP fallback beside its document: what no schema can say, and no more."""

import re
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import ServerError
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.specs.openapi.checks import positive_data_acceptance

BEYOND_A_SCHEMA = (
    # Its form is nobody's business but ours: only what an answer has given is one.
    "page_token",
    # It is the time of sequence_data[0], so there must be one; and the forecast must end before the year 10000.
    "start_time",
    # Which names, and how many values, depends on the model, the horizon and the sequence.
    r"covariates(\[\d+\](\.name|\.values.*)?)?",
    # How long it must be depends on the model, and doubles may overflow on the way to the forecast.
    "sequence_data",
    # How much is in all lists together.
    "body",
)
"""Patterns of the fields that may be at fault in a request that is valid by the document, each with its reason."""


@schemathesis.check
def accepts_what_is_valid(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """A valid request is accepted, unless the field at fault is one that no schema can describe."""
    try:
        return positive_data_acceptance(ctx, response, case)
    except RejectedPositiveData:
        fields = [
            violation["field"] for each in _details(response) for violation in each.get("fieldViolations", ())
        ]
        if not fields or not all(re.fullmatch("|".join(BEYOND_A_SCHEMA), field) for field in fields):
            raise
    return None


@schemathesis.check
def fails_for_damaged_models_alone(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """No server error, but for the damaged models that the store holds on purpose: DATA_LOSS is 500."""
    try:
        return not_a_server_error(ctx, response, case)
    except ServerError:
        if _details(response)[0].get("reason") != "MODEL_CORRUPT":
            raise
    return None


def _details(response: Response) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = response.json()["error"]["details"]
    return details
