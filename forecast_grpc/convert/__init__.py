"""Models that were fitted elsewhere, as forecast-grpc serves them.

    import forecast_grpc

    model = statsforecast.models.AutoETS(season_length=12).fit(sales)
    forecast_grpc.publish("./models", "shop-17", model, horizon=12, frequency="P1M")

`convert` makes the model without publishing it. Each conversion is proved before anything is stored: the
artefact is encoded, decoded and asked, and its forecasts have to be the library's own, to 1e-9 of their size, or
1e-5 for ONNX graphs. What cannot be converted raises ConversionError, one sentence for a person.

No library is imported here that the model does not come from, and nothing is unpickled: models come as objects.
"""

from forecast_grpc.convert.dispatch import Options, convert, publish
from forecast_grpc.convert.problems import ConversionError

__all__ = ["ConversionError", "Options", "convert", "publish"]
