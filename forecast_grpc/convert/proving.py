"""The round trip that every conversion has to pass: encode, decode, answer, compare."""

import numpy as np

from forecast_grpc.artefact import decode
from forecast_grpc.convert.conversion import Conversion, Proof
from forecast_grpc.convert.problems import ConversionError
from forecast_grpc.domain import ForecastQuery, ServedModel
from forecast_grpc.errors import ForecastError
from forecast_grpc.fit import FittedModel
from forecast_grpc.forecasting import answer


def prove(fitted: FittedModel, conversion: Conversion) -> None:
    """Raises ConversionError unless the artefact answers each proof as the library does."""
    try:
        served = decode(fitted.encode(1), "")
    except (ForecastError, ValueError) as exc:
        reason = exc.__cause__ or exc
        raise ConversionError(f"The model's parameters cannot be served: {reason}.") from exc
    for proof in conversion.proofs:
        off = _distance(served, proof)
        if not off <= conversion.tolerance:
            raise ConversionError(
                f"The served forecast would differ from the model's own by {off:.1e} of its size, which is more"
                f" than {conversion.tolerance:.0e}: this model cannot be converted."
            )


def _distance(served: ServedModel, proof: Proof) -> float:
    """How far the served forecast is from the library's, relative to its largest value."""
    horizon = proof.expected.size
    query = ForecastQuery(sequence=proof.sequence, horizon=horizon, covariates=proof.covariates)
    forecast = answer(served, query, max_horizon=horizon).forecast
    size = float(np.abs(proof.expected).max())
    return float(np.abs(forecast - proof.expected).max()) / (size or 1.0)
