"""Items of batches and streams from gRPC: those that differ by their observations alone are read together."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from forecast_grpc.domain import FloatArray, ForecastQuery, RequestLimits
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.items import Group, Single
from forecast_grpc.v1.forecast_pb2 import ForecastItem, ForecastRequest
from forecast_grpc.wire.requests import MAX_MODEL_VERSION, query_from_proto

_SHORT = 64  # Values up to which one list for all series is quicker than an array for each.

_Form = tuple[str, int, int, int, tuple[float, ...]]
"""What the items of a group share: customer, version, number of values, horizon, levels; 0 for what is not set."""


class MessageItems:
    """The items of a message. A batch may hold thousands: reading one is to take a microsecond."""

    def __init__(self, messages: Iterable[ForecastItem], limits: RequestLimits, customer_id: str) -> None:
        """`customer_id`: the customer of those items that name none."""
        self._messages = list(messages)
        self._limits = limits
        self._customer_id = customer_id
        self._refusal: RequestInvalid | None = None

    def __len__(self) -> int:
        """See Items."""
        return len(self._messages)

    def tag(self, place: int) -> str:
        """The tag of an item."""
        return self._messages[place].tag

    def refuse(self, refusal: RequestInvalid) -> None:
        """Lets each item be in error."""
        self._refusal = refusal

    def read(self, start: int, stop: int) -> tuple[list[Group], list[Single]]:
        """See Items."""
        if self._refusal is not None:
            return [], [self._single(place) for place in range(start, min(stop, len(self)))]
        forms: dict[_Form, list[int]] = {}
        alone: list[int] = []
        for place, message in enumerate(self._messages[start:stop], start):
            request = message.request
            horizon, version, levels = request.horizon, request.model_version, request.quantile_levels
            form = (
                message.customer_id,
                version,
                len(request.sequence_data),
                horizon,
                tuple(levels) if levels else (),
            )
            if _is_special(request):
                alone.append(place)
            elif form in forms:
                forms[form].append(place)
            else:
                forms[form] = [place]
        groups = [
            group for form, places in forms.items() if (group := self._group(form, places, alone)) is not None
        ]
        return groups, [self._single(place) for place in alone]

    def _group(self, form: _Form, places: list[int], alone: list[int]) -> Group | None:
        """The items of a form as a group; those that have to be looked at one by one are added to `alone`."""
        if not self._is_plain(form):
            alone.extend(places)
            return None
        customer_id, version, length, horizon, levels = form
        windows = self._windows(places, length)
        finite = np.isfinite(windows)
        if not finite.all():
            # An infinity is refused by its name, and missing values are filled in each series for itself.
            whole = [bool(row.all()) for row in finite]
            alone.extend(place for place, good in zip(places, whole, strict=True) if not good)
            places, windows = list(itertools.compress(places, whole)), windows[whole]
        if not places:
            return None
        return Group(
            customer_id=customer_id or self._customer_id,
            model_version=version or None,
            places=places,
            windows=windows,
            horizon=horizon or None,
            levels=levels,
        )

    def _is_plain(self, form: _Form) -> bool:
        """Whether items of this form are within the limits, and have observations."""
        _, version, length, horizon, levels = form
        limits = self._limits
        return (
            1 <= length <= limits.max_sequence_length
            and 0 <= horizon <= limits.max_horizon
            and 0 <= version <= MAX_MODEL_VERSION
            and len(levels) <= limits.max_quantile_levels
            and all(0 < level < 1 for level in levels)
        )

    def _windows(self, places: Sequence[int], length: int) -> FloatArray:
        """The observations of items that have equally many, shape (len(places), length)."""
        messages = self._messages
        if length > _SHORT:
            return np.array([np.array(messages[place].request.sequence_data) for place in places], np.float64)
        values: list[float] = []
        for place in places:
            values.extend(messages[place].request.sequence_data)
        return np.array(values).reshape(len(places), length)

    def _single(self, place: int) -> Single:
        message = self._messages[place]
        query: ForecastQuery | RequestInvalid
        try:
            query = self._refusal or query_from_proto(message.request, self._limits)
        except RequestInvalid as exc:
            query = exc
        return Single(customer_id=message.customer_id or self._customer_id, place=place, query=query)


def _is_special(request: ForecastRequest) -> bool:
    """Whether it has more than observations, a horizon, levels and a version; or a 0 that was sent as such."""
    return bool(
        request.covariates
        or request.HasField("start_time")
        or (not request.horizon and request.HasField("horizon"))
        or (not request.model_version and request.HasField("model_version"))
    )
