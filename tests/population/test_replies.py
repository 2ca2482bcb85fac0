"""What the head raises, a worker's client raises again."""

import pytest

from hpcnas.errors import DamagedRunError, GenotypeError, HpcnasError, NeverJoined, RunHeldError, StoreUnavailable, UsageError
from hpcnas.population.messages import MessageError, decode
from hpcnas.population.records import Claim, Lease, Verdict
from hpcnas.population.replies import encode_answer, encode_error, parse_reply


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
        parse_reply(decode(encode_error(error)), None)
    assert type(caught.value) is raised


def test_an_answer_arrives_as_it_was() -> None:
    claim = Claim(Verdict.OK, Lease(1, 2, '{"number": 1}', "digest", 7, (0,), 3.0))
    assert parse_reply(decode(encode_answer(claim)), Claim) == claim
    assert parse_reply(decode(encode_answer(None)), None) is None


@pytest.mark.parametrize("reply", [[], "ok", None, {"answer": "no verdict"}])
def test_what_is_no_reply_is_a_message_error(reply: object) -> None:
    with pytest.raises(MessageError):
        parse_reply(reply, Verdict)
