"""Messages and replies: any JSON is one or is refused; what the head raises, a worker's client raises again."""

import contextlib
import json
import math

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcnas.errors import DamagedRunError, GenotypeError, HpcnasError, NeverJoined, RunHeldError, StoreUnavailable, UsageError
from hpcnas.population.protocol.messages import (
    CLAIM_REPLY,
    EMPTY_REPLY,
    MESSAGE,
    VERDICT_REPLY,
    ClaimMessage,
    FailMessage,
    FinalMessage,
    HeartbeatMessage,
    JoinMessage,
    LeaveMessage,
    Message,
    MessageError,
    RecordMessage,
    ReleaseMessage,
    decode,
    encode,
    encode_answer,
    encode_error,
    read_reply,
)
from hpcnas.records import Claim, Failure, FailureKind, Final, Fitness, Lease, Verdict, WorkerInfo

NAMES = st.sampled_from(["worker", "individual_id", "token", "fitness", "failure", "final", "progress"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)

# As hpcnas 0.1.0 writes them.
FINAL = Final(None, "d", "cifar", 64, "cifar10", 0, 3.75, None, 15543498, 10.0, "1 x H100", {"epochs": 2})
WRITTEN: list[tuple[Message, str]] = [
    (
        JoinMessage(WorkerInfo("w1", "h1", 7)),
        '{"call":"join","worker":{"worker_id":"w1","host":"h1","pid":7,"device":"","slurm_job":"","slurm_task":""}}',
    ),
    (ClaimMessage("w1", "c1"), '{"call":"claim","worker_id":"w1","claim_id":"c1"}'),
    (HeartbeatMessage(1, 2, 0.5), '{"call":"heartbeat","individual_id":1,"token":2,"progress":0.5}'),
    (
        RecordMessage(1, 2, Fitness(0, 0.5, 3, 10, 2.0, "cpu")),
        '{"call":"record","individual_id":1,"token":2,"fitness":'
        '{"repeat":0,"accuracy":0.5,"seed":3,"steps":10,"seconds":2.0,"device":"cpu"}}',
    ),
    (
        FailMessage(1, 2, Failure(FailureKind.CRASH, "b\u00f6se \U0001f600", "trace")),
        '{"call":"fail","individual_id":1,"token":2,"failure":'
        '{"kind":"crash","error":"b\\u00f6se \\ud83d\\ude00","trace":"trace"}}',
    ),
    (ReleaseMessage(1, 2, "time limit"), '{"call":"release","individual_id":1,"token":2,"reason":"time limit"}'),
    (LeaveMessage("w1", "done"), '{"call":"leave","worker_id":"w1","reason":"done"}'),
    (
        FinalMessage(FINAL),
        '{"call":"record_final","final":{"individual_id":null,"digest":"d","model":"cifar","channels":64,"dataset":"cifar10",'
        '"run":0,"error_top1":3.75,"error_top5":null,"parameters":15543498,"seconds":10.0,"devices":"1 x H100",'
        '"details":{"epochs":2}}}',
    ),
]


@pytest.mark.parametrize(("message", "text"), WRITTEN, ids=[message.method for message, _ in WRITTEN])
def test_a_message_is_written_and_read_as_by_every_version_before(message: Message, text: str) -> None:
    assert encode(message) == text.encode()
    assert decode(text.encode(), MESSAGE) == message


def test_a_lease_is_written_as_by_every_version_before() -> None:
    claim = Claim(Verdict.OK, Lease(1, 2, '{"number": 1}', "digest", 7, (0,), 3.0))
    text = (
        rb'{"answer":{"verdict":"ok","lease":{"individual_id":1,"token":2,"genotype":"{\"number\": 1}","digest":"digest",'
        rb'"parameters":7,"done":[0],"expected_s":3.0}}}'
    )
    assert encode_answer(claim) == text
    assert read_reply(text, CLAIM_REPLY) == claim
    assert read_reply(b'{"answer":null}', EMPTY_REPLY) is None


FITNESS = {"repeat": 0, "accuracy": 0.5, "seed": 3, "steps": 10, "seconds": 2.0, "device": "cpu"}
RECORD = {"call": "record", "individual_id": 1, "token": 2, "fitness": FITNESS}


@pytest.mark.parametrize(
    "changed",
    [
        {**RECORD, "more": 1},
        {**RECORD, "token": 2.0},
        {**RECORD, "token": True},
        {**RECORD, "token": 1 << 63},
        {**RECORD, "token": None},
        {**RECORD, "call": "set_finished"},
        {**RECORD, "fitness": {**FITNESS, "more": 1}},
        {**RECORD, "fitness": {**FITNESS, "accuracy": "0.5"}},
        {**RECORD, "fitness": {**FITNESS, "accuracy": math.nan}},
        {**RECORD, "fitness": {**FITNESS, "seconds": math.inf}},
        {**RECORD, "fitness": {**FITNESS, "seconds": 1e300}},
        {**RECORD, "fitness": {**FITNESS, "device": "a\0b"}},
        {**RECORD, "fitness": {**FITNESS, "device": "\ud800"}},
        {**RECORD, "fitness": {name: value for name, value in FITNESS.items() if name != "seed"}},
    ],
    ids=str,
)
def test_unknown_keys_and_wrong_values_are_refused(changed: dict[str, object]) -> None:
    assert isinstance(decode(json.dumps(RECORD).encode(), MESSAGE), RecordMessage)
    with pytest.raises(MessageError):
        decode(json.dumps(changed).encode(), MESSAGE)


@pytest.mark.parametrize("progress", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_where_it_arises(progress: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(HeartbeatMessage(1, 2, progress))


def test_text_that_no_database_keeps_is_replaced_where_it_arises() -> None:
    message = decode(encode(ReleaseMessage(1, 2, "a\0 \ud800 \U0001f600")), MESSAGE)
    assert message == ReleaseMessage(1, 2, "a\ufffd ? \U0001f600")
    with pytest.raises(UsageError, match="no \ufffd"):
        read_reply(encode_error(UsageError("no \0")), EMPTY_REPLY)


def test_a_number_of_numpy_is_written_as_one_of_python() -> None:
    details = {"error": numpy.float64(2.5)}
    assert b'"details":{"error":2.5}' in encode(
        FinalMessage(Final(1, "d", "cifar", 64, "x", 0, 1.0, None, 1, 1.0, "", details))
    )


@given(value=json_values)
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_message_or_a_message_error(value: object) -> None:
    with contextlib.suppress(MessageError):
        decode(json.dumps(value).encode(), MESSAGE)


@given(
    method=st.sampled_from(["join", "record", "fail", "record_final", "heartbeat"]),
    arguments=st.dictionaries(NAMES, json_values, max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_any_arguments_are_right_or_a_message_error(method: str, arguments: dict[str, object]) -> None:
    with contextlib.suppress(MessageError):
        decode(json.dumps({"call": method, **arguments}).encode(), MESSAGE)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (StoreUnavailable("busy"), StoreUnavailable),
        (RunHeldError("busy"), StoreUnavailable),  # a worker looks for the head that took over
        (DamagedRunError("busy"), DamagedRunError),
        (UsageError("busy"), UsageError),
        (NeverJoined("busy"), NeverJoined),
        (GenotypeError("busy"), UsageError),
        (ValueError("busy"), ValueError),
        (HpcnasError("busy"), HpcnasError),
        (KeyError("busy"), HpcnasError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_an_error_arrives_as_what_a_worker_can_act_upon(error: Exception, raised: type[Exception]) -> None:
    with pytest.raises(raised, match="busy") as caught:
        read_reply(encode_error(error), VERDICT_REPLY)
    assert type(caught.value) is raised


@pytest.mark.parametrize("reply", [[], "ok", None, {}, {"answer": "no verdict"}, {"answer": None}])
def test_what_is_no_reply_is_a_message_error(reply: object) -> None:
    with pytest.raises(MessageError):
        read_reply(json.dumps(reply).encode(), VERDICT_REPLY)
