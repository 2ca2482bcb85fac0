"""Any bytes and any JSON are frames and calls, or are refused."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcnas.population.protocol.framing import Frames, Seal, ServerHandshake
from hpcnas.population.protocol.messages import MessageError, parse_call

NAMES = st.sampled_from(["worker", "individual_id", "token", "fitness", "failure", "final", "progress"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@given(value=json_values)
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_call_or_a_message_error(value: object) -> None:
    with contextlib.suppress(MessageError):
        parse_call(value)


@given(
    method=st.sampled_from(["join", "record", "fail", "record_final", "heartbeat"]),
    arguments=st.dictionaries(NAMES, json_values, max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_any_arguments_are_right_or_a_message_error(method: str, arguments: dict[str, object]) -> None:
    with contextlib.suppress(MessageError):
        parse_call({"call": method, **arguments})


@given(chunks=st.lists(st.binary(max_size=200), max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_cut_into_frames_or_refused(chunks: list[bytes]) -> None:
    frames, handshake = Frames(), ServerHandshake(b"s" * 32)
    with contextlib.suppress(MessageError):
        for chunk in chunks:
            frames.feed(chunk)
            while (content := frames.next()) is not None:
                handshake.accept(content)


@given(payloads=st.lists(st.binary(max_size=100), min_size=1, max_size=6), cuts=st.integers(1, 7), flip=st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_frames_arrive_whole_in_any_pieces_and_no_bit_can_be_changed(payloads: list[bytes], cuts: int, flip: int) -> None:
    sender, receiver, frames = Seal(b"k" * 32, b"client"), Seal(b"k" * 32, b"server"), Frames(1 << 10)
    stream = b"".join(sender.sign(payload) for payload in payloads)
    for start in range(0, len(stream), cuts):
        frames.feed(stream[start : start + cuts])
    assert [receiver.verify(frames.next() or b"") for _ in payloads] == payloads
    changed = bytearray(Seal(b"k" * 32, b"client").sign(payloads[0]))
    changed[4 + flip % (len(changed) - 4)] ^= 1 << flip % 8
    other = Frames(1 << 10)
    other.feed(bytes(changed))
    with pytest.raises(MessageError):
        Seal(b"k" * 32, b"server").verify(other.next() or b"")
