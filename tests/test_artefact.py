"""Bytes <-> model: what goes in comes out, and nothing damaged passes."""

import json
import pickle
import pickletools
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from forecast_grpc import container
from forecast_grpc.artefact import decode, encode, republish
from forecast_grpc.domain import Forecaster, ForecastQuery, ModelMetadata, StoredArray
from forecast_grpc.errors import ForecastError, ModelCorrupt, ModelFormatForbidden, ModelFormatUnsupported
from forecast_grpc.fit.quantiles import no_quantiles
from forecast_grpc.forecasting import answer
from forecast_grpc.models import Trend
from tests.models.examples import FORMS, HORIZON, MODELS, onnx, serialised, series

models = pytest.mark.parametrize("model", FORMS.values(), ids=FORMS.keys())


def metadata(model: Forecaster) -> ModelMetadata:
    """Every field set."""
    return ModelMetadata(
        family=model.family,
        model_version=3,
        horizon=HORIZON,
        min_length=model.min_length,
        season_length=12,
        frequency="P1M",
        trained_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        state_time="2025-12-01T00:00:00Z",
        fit_digest="0123456789abcdef" * 2,
        accuracy={"mae": 1.25, "smape": 12.5, "mase": 0.75, "coverage_80": 0.8125},
    )


FORMAT_1: Mapping[str, Any] = json.loads((Path(__file__).parent / "format_1.json").read_text())
"""By family an artefact of a fit to 120 days, as it was written before format 2, and what it answered."""

TREND = encode(MODELS["trend"], metadata(MODELS["trend"]))


def header_of(data: bytes) -> dict[str, Any]:
    """The header as any safetensors reader sees it."""
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return header


def rewritten(data: bytes, changes: Mapping[str, str | None]) -> bytes:
    """The same tensors with other metadata, written by the safetensors library, as a foreign publisher would."""
    text: dict[str, str | None] = {**header_of(data)["__metadata__"], "header_sha256": None, **changes}
    kept = {key: value for key, value in text.items() if value is not None}
    plain = safetensors.numpy.save(safetensors.numpy.load(data), metadata=kept)
    if "sha256" in changes:
        return plain
    payload = plain[8 + int.from_bytes(plain[:8], "little") :]
    kept["sha256"] = sha256(payload).hexdigest()
    return safetensors.numpy.save(safetensors.numpy.load(data), metadata=kept)


@models
def test_a_model_comes_back_as_it_was(model: Forecaster) -> None:
    """Forecasts, quantiles, tail and every field of the metadata survive the bytes, to the last bit."""
    served = decode(encode(model, metadata(model)), "c")
    assert replace(served.metadata, digest=b"") == metadata(model)
    assert type(served.forecaster) is type(model)
    assert served.forecaster.tail.tolist() == model.tail.tolist()
    window = series(100)
    assert served.forecaster.forecast(window, 30).tolist() == model.forecast(window, 30).tolist()
    levels = (0.05, 0.5, 0.999)
    offsets = served.forecaster.quantile_offsets(levels, 30)
    assert offsets.tolist() == model.quantile_offsets(levels, 30).tolist()


def test_what_is_not_known_stays_unknown() -> None:
    """Optional metadata may be absent, and is not invented."""
    model = MODELS["trend"]
    bare = ModelMetadata(family="trend", model_version=1, horizon=7, min_length=1)
    assert replace(decode(encode(model, bare), "c").metadata, digest=b"") == bare


@models
def test_equal_models_have_equal_bytes(model: Forecaster) -> None:
    """Encoding is deterministic, also after a round trip."""
    data = encode(model, metadata(model))
    again = decode(data, "c")
    assert encode(again.forecaster, again.metadata) == data


@models
def test_any_safetensors_reader_reads_it(model: Forecaster) -> None:
    """The file is plain safetensors, and `sha256` is the digest of all after the header.

    Arrays have their names, vectors lie in one tensor, and the text of the same name tells where.
    """
    data = encode(model, metadata(model))
    loaded = safetensors.numpy.load(data)
    found = {name: array.tolist() for name, array in loaded.items() if name != "vectors"}
    if "vectors" in loaded:
        numbers = loaded["vectors"].tolist()
        for part in header_of(data)["__metadata__"]["vectors"].split(" "):
            name, length = part.split(":")
            found[name], numbers = numbers[: int(length)], numbers[int(length) :]
        assert not numbers
    assert found == {name: array.tolist() for name, array in model.arrays().items()}
    payload = data[8 + int.from_bytes(data[:8], "little") :]
    assert header_of(data)["__metadata__"]["sha256"] == sha256(payload).hexdigest()


def test_bytes_travel_as_bytes() -> None:
    """A parameter of uint8, such as a graph of another format, is stored a byte each, after the numbers."""

    class WithGraph(Trend):
        def arrays(self) -> dict[str, StoredArray]:
            return {**super().arrays(), "graph": np.frombuffer(b"\x00graph\xff", np.uint8)}

    model = WithGraph(slope=1.0, base_level=2.0, residuals=no_quantiles(HORIZON))
    data = encode(model, metadata(MODELS["trend"]))
    assert header_of(data)["graph"]["dtype"] == "U8"
    assert data.endswith(b"\x00graph\xff")
    assert decode(data, "c").forecaster.forecast(np.array([1.0]), 1).tolist() == [2.0]


def test_a_graph_that_is_not_served_says_why() -> None:
    """A graph with a refused operator is unsupported, not damaged, and the sentence names the operator."""
    node = helper.make_node("RandomNormal", [], ["forecast"], shape=[1, 1])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 24]) for name in ("window", "forecast")
    ]
    refused = onnx(serialised(helper.make_graph([node], "made", ends[:1], ends[1:])))
    with pytest.raises(ModelFormatUnsupported, match="RandomNormal"):
        decode(encode(refused, metadata(refused)), "c")


def test_what_the_safetensors_library_alone_writes_is_read() -> None:
    """A publisher needs no code of ours: without `header_sha256`, with its own order of keys, it is a model."""
    served = decode(rewritten(TREND, {}), "c")
    assert served.forecaster.forecast(np.array([120.0]), 1).tolist() == [121.45]


def test_a_trained_time_is_kept_in_utc() -> None:
    """Another zone's time is the same moment; a time without a zone is UTC's."""
    model = MODELS["trend"]
    paris = datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    served = decode(encode(model, replace(metadata(model), trained_time=paris)), "c")
    assert served.metadata.trained_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    naive = decode(rewritten(TREND, {"trained_time": "2026-01-02T03:04:05"}), "c")
    assert naive.metadata.trained_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_version_is_replaced_and_nothing_else() -> None:
    """A republished artefact keeps its tensors and their digest, and says its new version."""
    data = republish(TREND, "c", 12)
    before, after = decode(TREND, "c").metadata, decode(data, "c").metadata
    assert after == replace(before, model_version=12)
    assert republish(data, "c", 3) == TREND


@models
def test_a_model_to_serve_leaves_out_what_no_request_asks_for(model: Forecaster) -> None:
    """A replica holds a hundred thousand of them; all else is as in the model that is described."""
    described = replace(metadata(model), accuracy={"mae": 1.0}, fit_digest="ab" * 32)
    data = encode(model, described)
    whole, served = decode(data, "c"), decode(data, "c", to_serve=True)
    assert served.metadata.accuracy == {}
    assert served.metadata == replace(whole.metadata, accuracy={}, fit_digest="")


def test_decoded_arrays_cannot_be_written_to() -> None:
    """A model is shared by requests: its arrays are read-only."""
    tail = decode(encode(MODELS["linear"], metadata(MODELS["linear"])), "c").forecaster.tail
    with pytest.raises(ValueError, match="read-only"):
        tail[0] = 1.0


@models
def test_the_resident_size_covers_the_bytes(model: Forecaster) -> None:
    """What a cache counts is no less than the artefact that the arrays lie in."""
    data = encode(model, metadata(model))
    assert decode(data, "c").nbytes >= len(data)


def test_parameters_that_are_not_finite_are_not_encoded() -> None:
    """A model that could only answer NaN is refused by its publisher."""
    model = replace(MODELS["trend"], slope=float("nan"))  # type: ignore[type-var]
    with pytest.raises(ValueError, match="finite"):
        encode(model, metadata(model))


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_no_flipped_byte_passes(mask: int) -> None:
    """Every flipped byte is noticed, but in the name of the header's own digest, which is optional."""
    original = decode(TREND, "c")
    for place in range(len(TREND)):
        damaged = bytearray(TREND)
        damaged[place] ^= mask
        try:
            served = decode(bytes(damaged), "c")
        except (ModelCorrupt, ModelFormatUnsupported):
            continue
        start = TREND.index(b"header_sha256")
        assert start <= place < start + len(b"header_sha256")
        assert served.metadata == original.metadata


def test_no_truncation_passes() -> None:
    """Cut anywhere, an artefact is corrupt."""
    for length in range(len(TREND)):
        with pytest.raises(ModelCorrupt):
            decode(TREND[:length], "c")


@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """Arbitrary bytes are refused with an error of ours."""
    with pytest.raises(ForecastError):
        decode(data, "c")


@settings(deadline=None)
@given(
    place=st.integers(0, len(TREND) - 1),
    inserted=st.binary(max_size=30),
    removed=st.integers(0, 30),
)
def test_no_damage_raises_anything_else(place: int, inserted: bytes, removed: int) -> None:
    """Bytes cut out, put in or written over: the artefact is whole, or refused with an error of ours."""
    damaged = TREND[:place] + inserted + TREND[place + removed :]
    try:
        assert decode(damaged, "c").metadata == decode(TREND, "c").metadata
        # And what we read the library reads, which is stricter than the format.
        safetensors.deserialize(damaged)  # type: ignore[no-untyped-call]
    except ForecastError:
        assert damaged != TREND


@pytest.mark.parametrize(
    "changes",
    [
        {"family": None},
        {"format_version": None},
        {"model_version": None},
        {"model_version": "0"},
        {"model_version": "two"},
        {"horizon": None},
        {"horizon": "-7"},
        {"min_length": None},
        {"min_length": "0"},
        {"season_length": "0"},
        {"sha256": "0" * 64},
        {"sha256": None},
        {"header_sha256": "0" * 64},
        {"trained_time": "yesterday"},
        {"trained_time": "9999-12-31T23:59:59-12:00"},
        {"accuracy": "mae = small"},
        {"accuracy": "mae smape = 1.5"},
        {"accuracy": "mae 1.5"},
        {"vectors": "line:3"},
    ],
    ids=str,
)
def test_impossible_metadata_is_corrupt(changes: dict[str, str | None]) -> None:
    """What must be there is there, and counts are counts."""
    with pytest.raises(ModelCorrupt):
        decode(rewritten(TREND, changes), "c")


@pytest.mark.parametrize("changes", [{"family": "oracle"}, {"format_version": "3"}], ids=str)
def test_what_a_newer_release_wrote_is_unsupported(changes: dict[str, str | None]) -> None:
    """An unknown family or format version is no damage: the caller learns that the server is too old."""
    with pytest.raises(ModelFormatUnsupported) as caught:
        decode(rewritten(TREND, changes), "c")
    assert caught.value.metadata == {"customer_id": "c"}


def test_arrays_that_do_not_fit_the_family_are_corrupt() -> None:
    """Right digests around the wrong tensors: a linear model without any of its parameters."""
    with pytest.raises(ModelCorrupt) as caught:
        decode(rewritten(TREND, {"family": "linear"}), "c")
    assert "the parameter tail is missing" in str(caught.value.__cause__)


def test_a_model_that_needs_more_than_it_says_is_corrupt() -> None:
    """Its callers would be told a length that is not enough."""
    data = encode(MODELS["linear"], metadata(MODELS["linear"]))
    assert decode(rewritten(data, {"min_length": "25"}), "c").metadata.min_length == 25
    with pytest.raises(ModelCorrupt):
        decode(rewritten(data, {"min_length": "23"}), "c")


def layout(data: bytes, text: str) -> bytes:
    """The artefact with another text of where its vectors lie."""
    return rewritten(data, {"vectors": text})


@pytest.mark.parametrize(
    "text",
    [
        "pattern:12 smoothing:4 state:2 tail:13",
        "pattern:12 smoothing:4 state:2 tail:11",
        "pattern:12 smoothing:4 state:-2 tail:16",
        "pattern:12 smoothing:4 state:two tail:12",
        "pattern:12 smoothing:4 :2 tail:12",
        "pattern:12  smoothing:4 state:2 tail:12",
        "",
    ],
)
def test_vectors_fill_their_tensor(text: str) -> None:
    """A text of where the vectors lie that does not fit the tensor, or is none, is damage."""
    data = encode(MODELS["ets"], metadata(MODELS["ets"]))
    whole = "pattern:12 smoothing:4 state:2 tail:12"
    assert decode(layout(data, whole), "c").metadata.family == "ets"
    with pytest.raises(ModelCorrupt):
        decode(layout(data, text), "c")


@pytest.mark.parametrize("family", FORMAT_1)
def test_format_1_is_read(family: str) -> None:
    """Artefacts of before the second format give what they gave then, from a window and without one."""
    old = FORMAT_1[family]
    served = decode(b64decode(old["artefact"]), "c")
    assert served.metadata.family == family
    assert dict(served.metadata.accuracy) == old["accuracy"]
    query = ForecastQuery(sequence=np.array(old["sequence"]), horizon=5, quantile_levels=(0.1, 0.5, 0.99))
    result = answer(served, query, max_horizon=5)
    assert result.forecast == pytest.approx(np.array(old["forecast"]), rel=1e-12)
    for quantile, expected in zip(result.quantiles, old["quantiles"], strict=True):
        assert quantile.values == pytest.approx(np.array(expected), rel=1e-9)
    continued = answer(served, ForecastQuery(sequence=np.empty(0), horizon=5), max_horizon=5)
    assert continued.forecast == pytest.approx(np.array(old["continued"]), rel=1e-12)


@pytest.mark.parametrize("family", FORMAT_1)
def test_format_1_becomes_a_version_as_it_is(family: str) -> None:
    """Published again, or signed, it stays what it was: the same tensors, in the format that they are in."""
    data = b64decode(FORMAT_1[family]["artefact"])
    again = republish(data, "c", 9)
    assert header_of(again)["__metadata__"]["format_version"] == "1"
    assert decode(again, "c").metadata.sha256 == decode(data, "c").metadata.sha256


def test_an_error_cannot_have_any_name() -> None:
    """Names are told with spaces between: one with a space is refused by its publisher."""
    for name in ("my error", "", "a = b"):
        with pytest.raises(ValueError, match="called"):
            encode(MODELS["trend"], replace(metadata(MODELS["trend"]), accuracy={name: 1.0}))


def test_other_number_types_are_corrupt() -> None:
    """Integers of eight bytes are no parameters."""
    text = {key: value for key, value in header_of(TREND)["__metadata__"].items() if key != "header_sha256"}
    tensors = {"line": np.array([1, 2, 3])}
    text["sha256"] = sha256(tensors["line"].tobytes()).hexdigest()
    with pytest.raises(ModelCorrupt):
        decode(safetensors.numpy.save(tensors, metadata=text), "c")


def with_header(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The same tensor bytes under a header that was changed, without a digest of its own."""
    header = header_of(data)
    header["__metadata__"].pop("header_sha256")
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + int.from_bytes(data[:8], "little") :]


def test_the_order_of_the_header_is_free() -> None:
    """Tensors lie where their offsets say, in whatever order the header names them."""
    data = encode(MODELS["linear"], metadata(MODELS["linear"]))

    def backwards(header: dict[str, Any]) -> None:
        for name in list(header)[::-1]:
            header[name] = header.pop(name)

    served = decode(with_header(data, backwards), "c")
    assert served.forecaster.tail.tolist() == MODELS["linear"].tail.tolist()


@pytest.mark.parametrize(
    "tensor",
    [
        {"data_offsets": [0, 16]},
        {"data_offsets": [8, 32]},
        {"data_offsets": [-8, 16]},
        {"data_offsets": [0, 32]},
        {"data_offsets": [0.0, 24.0]},
        {"data_offsets": [24]},
        {"data_offsets": None},
        {"shape": [2]},
        {"shape": [-3]},
        {"shape": [2**62]},
        {"shape": "3"},
        {"shape": [3.0]},
        {"dtype": "I64"},
        {"dtype": ["F64"]},
    ],
    ids=str,
)
def test_tensors_that_do_not_fill_the_bytes_are_corrupt(tensor: dict[str, Any]) -> None:
    """No gap, no overlap, nothing beyond the end, and sizes that agree with shapes."""
    assert decode(with_header(TREND, lambda header: None), "c").metadata.family == "trend"
    with pytest.raises(ModelCorrupt):
        decode(with_header(TREND, lambda header: header["line"].update(tensor)), "c")


@pytest.mark.parametrize("header", [b"[]", b"7", b"{", b"[" * 100_000, b'{"__metadata__": {"family": 7}}'])
def test_a_header_of_another_form_is_corrupt(header: bytes) -> None:
    """What is JSON but no header of ours, or no JSON at all, is refused."""
    with pytest.raises(ModelCorrupt):
        decode(len(header).to_bytes(8, "little") + header, "c")


def test_metadata_are_texts() -> None:
    """As in every safetensors file: a number is refused even where it could be understood."""
    with pytest.raises(ModelCorrupt):
        decode(with_header(TREND, lambda header: header["__metadata__"].update({"accuracy": 1.5})), "c")


def test_a_safetensors_file_without_metadata_is_corrupt() -> None:
    """Somebody else's weights are no artefact."""
    with pytest.raises(ModelCorrupt):
        decode(safetensors.numpy.save({"weights": np.ones(3)}), "c")


class Trap:
    """An object whose pickle runs code when it is loaded."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Raises when unpickled."""
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("content", [Trap(), {"slope": 1.45}, [1.0] * 1000], ids=["trap", "dict", "list"])
def test_a_pickle_is_forbidden_and_never_run(content: object, protocol: int) -> None:
    """Whatever its protocol, a pickle is recognised by looking at it."""
    with pytest.raises(ModelFormatForbidden):
        decode(pickle.dumps(content, protocol), "c")


def test_a_header_of_640_bytes_is_no_pickle() -> None:
    """Its length starts with the bytes 80 02, as a pickle of protocol 2 does."""
    model = MODELS["trend"]
    bare = ModelMetadata(family="trend", model_version=1, horizon=7, min_length=1)
    for digits in range(300):
        data = encode(model, replace(bare, state_time="1" * digits))
        if data.startswith(b"\x80\x02"):
            break
    assert decode(data, "c").metadata.state_time == "1" * digits
    assert data.startswith(b"\x80\x02")
    with pytest.raises(ModelCorrupt):
        decode(data[:100], "c")


def test_messages_name_no_part_of_the_bytes() -> None:
    """What the caller reads is one sentence, the same for all damage; what exactly it was is in the cause."""
    with pytest.raises(ModelCorrupt) as caught:
        decode(TREND[:-1], "customer_123")
    assert caught.value.message == "The model's bytes are damaged: publish it again."
    assert caught.value.metadata == {"customer_id": "customer_123"}
    assert caught.value.__cause__ is not None


def test_replacing_the_version_of_damaged_bytes_fails_alike() -> None:
    """Nothing is republished that could not be served."""
    for damaged, error in ((TREND[:-1], ModelCorrupt), (pickle.dumps(1), ModelFormatForbidden)):
        with pytest.raises(error):
            republish(damaged, "c", 2)


def test_pickletools_reads_all_protocols() -> None:
    """What the recognition of protocols 0 and 1 stands on: instructions are read without being run."""
    assert sum(1 for _ in pickletools.genops(pickle.dumps(Trap(), 0))) > 1


@pytest.mark.parametrize("text", ["x},", "x}", '"},"', '},"line":{', "\\"], ids=str)
def test_no_text_is_taken_for_the_end_of_the_metadata(text: str) -> None:
    """Whatever stands in a text, the tensors are found after the metadata, as another reader finds them."""
    model = MODELS["trend"]
    data = encode(model, replace(metadata(model), state_time=text))
    served = decode(data, "c")
    assert served.metadata.state_time == text == header_of(data)["__metadata__"]["state_time"]
    assert served.forecaster.forecast(np.array([100.0]), 1).tolist() == [101.45]


def test_metadata_twice_are_corrupt() -> None:
    """One reader would take the first, another the second."""
    start = 8 + int.from_bytes(TREND[:8], "little")
    header = TREND[8:start].rstrip()[:-1] + b',"__metadata__":{"format_version":"2"}}'
    with pytest.raises(ModelCorrupt):
        decode(len(header).to_bytes(8, "little") + header + TREND[start:], "c")


def test_many_tensors_are_read_and_not_remembered() -> None:
    """A header that is longer than any of ours does not stay in memory."""
    wide = encode(MODELS["combination"], metadata(MODELS["combination"]))
    tensors = safetensors.numpy.load(wide)
    many = {**tensors, **{f"unused{number}": np.zeros(1, np.float32) for number in range(100)}}
    text = {key: value for key, value in header_of(wide)["__metadata__"].items() if key != "header_sha256"}
    payload = safetensors.numpy.save(many)
    payload = payload[8 + int.from_bytes(payload[:8], "little") :]
    data = safetensors.numpy.save(many, metadata={**text, "sha256": sha256(payload).hexdigest()})
    before = container._known_layout.cache_info().currsize
    assert decode(data, "c").metadata.family == "combination"
    assert container._known_layout.cache_info().currsize == before
