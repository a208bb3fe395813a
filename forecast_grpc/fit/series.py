"""One customer's history on its grid of equal steps."""

from dataclasses import dataclass

from forecast_grpc.domain import FloatArray


class SeriesError(ValueError):
    """One customer's history cannot be fitted. The message is one sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One customer's history, on a grid of equal steps."""

    values: FloatArray
    """Observations, oldest first, shape (n,), NaN where a step is missing, never infinite."""

    customer_id: str = ""
    """The customer that it belongs to; for messages, not needed to fit."""

    frequency: str | None = None
    """The length of a step as an ISO-8601 duration such as `PT1H`; None for plain integer steps."""

    state_time: str | None = None
    """Time of the last observation: RFC 3339, or an integer step; None where it is not known."""
