"""Streams of events, as the vectors of Amazon's own clients have them."""

import struct
from zlib import crc32

from setpoint.serve import eventstream

#: ``empty_message`` and ``payload_one_str_header`` of the vectors that Amazon's clients have.
_EMPTY = "000000100000000005c248eb7d98c8ff"
_PAYLOAD_ONE_HEADER = (
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"
    "7b27666f6f273a27626172277d8d9c08b1"
)


def test_messages_are_as_amazons_own_vectors() -> None:
    assert eventstream.message({}, b"").hex() == _EMPTY
    told = eventstream.message({"content-type": "application/json"}, b"{'foo':'bar'}")
    assert told.hex() == _PAYLOAD_ONE_HEADER


def test_an_event_says_what_it_is() -> None:
    raw = eventstream.event("PayloadPart", b"\0grown")
    total, headers = struct.unpack_from(">II", raw)
    assert total == len(raw)
    assert struct.unpack_from(">I", raw, 8)[0] == crc32(raw[:8])
    assert struct.unpack_from(">I", raw, len(raw) - 4)[0] == crc32(raw[:-4])
    assert raw[12 + headers : -4] == b"\0grown"
    assert b":event-type\x07\x00\x0bPayloadPart" in raw[12 : 12 + headers]
