"""Questions that are asked in threads of their own."""

import threading

import pytest

from hpcnas.system.background_call import ask, is_answered


def test_an_answer_is_there_when_it_is_given() -> None:
    may_answer = threading.Event()
    answer = ask(lambda: may_answer.wait(60))
    assert not is_answered(answer, 0)
    may_answer.set()
    assert is_answered(answer, 60)
    assert answer.result() is True


def test_an_error_is_an_answer_for_whoever_takes_it() -> None:
    answer = ask(lambda: 1 // 0)
    assert is_answered(answer, 60)
    with pytest.raises(ZeroDivisionError):
        answer.result()
