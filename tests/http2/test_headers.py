"""HPACK, held to the library's encoder and decoder."""

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_grpc.http2 import headers
from forecast_grpc.http2.faults import RpcFault
from forecast_grpc.http2.frames import ConnectionFault, Reason

NAMES = st.sampled_from([":path", "content-type", "te", "request_id", "some-name"]) | st.text(
    "abcdefghijklmnopqrstuvwxyz-_", min_size=1, max_size=200
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=400) | st.text(max_size=20)
BLOCKS = st.lists(st.tuples(st.lists(st.tuples(NAMES, VALUES), max_size=12), st.booleans()), max_size=8)


@given(BLOCKS, st.integers(0, headers.TABLE_BYTES))
def test_what_an_encoder_writes(blocks: list[tuple[list[tuple[str, str]], bool]], table: int) -> None:
    """Blocks of one connection, with Huffman's code or without, and a table that fills and overflows."""
    encoder, reader = hpack.Encoder(), headers.HeaderReader()
    encoder.header_table_size = table
    for fields, huffman in blocks:
        assert reader.read(encoder.encode(fields, huffman=huffman)) == fields


@given(st.lists(st.tuples(st.text("abc-_", min_size=1, max_size=200), VALUES), max_size=8))
def test_what_we_write(fields: list[tuple[str, str]]) -> None:
    """Is read by others."""
    fields = [(name.removesuffix("-bin"), value) for name, value in fields if name != "-bin"]
    decoded = hpack.Decoder(max_header_list_size=2**20).decode(headers.block(fields), raw=True)
    assert [(name.decode(), value.decode()) for name, value in decoded] == fields


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_anything(blocks: list[bytes]) -> None:
    """Is read as the library reads it, or refused."""
    reader, decoder = headers.HeaderReader(), hpack.Decoder(max_header_list_size=2**20)
    for block in blocks:
        try:
            read = reader.read(block)
        except ConnectionFault:
            return
        known = [
            (headers._text(name), headers._text(value)) for name, value in decoder.decode(block, raw=True)
        ]
        assert read == known


def test_more_than_is_taken() -> None:
    """A small block that refers a thousand times to a long entry of the table."""
    reader = headers.HeaderReader()
    entry = hpack.Encoder().encode([("a", "b" * 4_000)], huffman=False)
    with pytest.raises(ConnectionFault) as caught:
        reader.read(entry + b"\xbe" * 1_000)
    assert caught.value.reason is Reason.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1S", 1.0), ("500m", 0.5), ("99999999n", 0.099999999), ("2H", 7200.0)],
)
def test_timeouts(text: str, expected: float) -> None:
    """As gRPC writes them."""
    assert headers.seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "1", "S", "123456789S", "-1S", "1.5S", "\u0661S"])
def test_no_timeouts(text: str) -> None:
    """Not eight digits and a unit."""
    with pytest.raises(RpcFault):
        headers.seconds(text)


def test_bytes_in_headers() -> None:
    """With and without padding."""
    assert headers.binary("a-bin", "AP8") == headers.binary("a-bin", "AP8=") == b"\x00\xff"
    with pytest.raises(RpcFault, match="a-bin"):
        headers.binary("a-bin", "?")
