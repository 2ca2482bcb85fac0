"""Any bytes are cut into frames or refused, and no bit of a proved frame can be changed."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcnas.population.protocol.connection import Frames, Seal
from hpcnas.population.protocol.handshake import ServerHandshake
from hpcnas.population.protocol.messages import MessageError


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
