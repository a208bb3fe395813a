"""Items of batches and streams from gRPC: those that differ by their observations alone are read together."""

from collections.abc import Iterable, Sequence
from itertools import compress

import numpy as np

from forecast_grpc.domain import ForecastQuery
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.items import Allowance, BulkLimits, Group, ModelKey, Single
from forecast_grpc.v1.forecast_pb2 import ForecastItem
from forecast_grpc.wire.requests import MAX_MODEL_VERSION, query_from_proto

FEW = 3
"""Items up to which each by itself is quicker than all of them together: what a group costs has to pay."""

_VALUE_BYTES = 8

_Form = tuple[int, int, tuple[float, ...]]
"""What the series of a group share: how many values they have, the horizon (0 for the model's), the levels."""

_Series = tuple[list[int], list[ModelKey], list[Sequence[float]]]
"""Series of one form: their places, their models, their values."""


class MessageItems:
    """The items of a message. A batch may hold thousands: reading one is to take a microsecond."""

    def __init__(
        self, messages: Iterable[ForecastItem], limits: BulkLimits, *, customer_id: str, nbytes: int
    ) -> None:
        """`customer_id`: the customer of those items that name none; `nbytes`: their size on the wire."""
        self.allowance = Allowance(limits.max_batch_values)
        self.values = nbytes // _VALUE_BYTES
        self._messages = list(messages)
        self._limits = limits.item
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
        stop = min(stop, len(self))
        if self._refusal is not None or stop - start <= FEW:
            return [], [self._single(place) for place in range(start, stop)]
        forms: dict[_Form, _Series] = {}
        alone: list[int] = []
        for place in range(start, stop):
            message = self._messages[place]
            request = message.request
            horizon, version, levels = request.horizon, request.model_version, request.quantile_levels
            if (
                request.covariates
                or request.HasField("start_time")
                # Zero, and sent as such.
                or (not horizon and request.HasField("horizon"))
                or (not version and request.HasField("model_version"))
                or not 0 <= version <= MAX_MODEL_VERSION
            ):
                alone.append(place)
                continue
            values = request.sequence_data
            form = (len(values), horizon, tuple(levels) if levels else ())
            series = forms.get(form)
            if series is None:
                series = forms[form] = ([], [], [])
            series[0].append(place)
            series[1].append((message.customer_id or self._customer_id, version or None))
            # A slice takes half the time of going through the values.
            series[2].append(values[:])
        groups = [self._group(form, *series, alone) for form, series in forms.items()]
        return [group for group in groups if group.places], [self._single(place) for place in alone]

    def _group(
        self,
        form: _Form,
        places: list[int],
        keys: list[ModelKey],
        values: list[Sequence[float]],
        alone: list[int],
    ) -> Group:
        """The series of a form; those that have to be looked at one by one are added to `alone` instead."""
        _, horizon, levels = form
        windows = np.array(values) if self._is_plain(form) else np.full((len(places), 1), np.nan)
        if not np.isfinite(windows).all():
            # An infinity is refused by its name, and missing values are filled in each series for itself.
            whole = [bool(row.all()) for row in np.isfinite(windows)]
            alone.extend(place for place, good in zip(places, whole, strict=True) if not good)
            places, keys = list(compress(places, whole)), list(compress(keys, whole))
            windows = windows[whole]
        return Group(places=places, keys=keys, windows=windows, horizon=horizon or None, levels=levels)

    def _is_plain(self, form: _Form) -> bool:
        """Whether series of this form are within the limits, and have observations."""
        length, horizon, levels = form
        limits = self._limits
        return (
            1 <= length <= limits.max_sequence_length
            and 0 <= horizon <= limits.max_horizon
            and len(levels) <= limits.max_quantile_levels
            and all(0 < level < 1 for level in levels)
        )

    def _single(self, place: int) -> Single:
        message = self._messages[place]
        query: ForecastQuery | RequestInvalid
        try:
            query = self._refusal or query_from_proto(message.request, self._limits)
        except RequestInvalid as exc:
            query = exc
        return Single(customer_id=message.customer_id or self._customer_id, place=place, query=query)
