"""Signals that a training listens to."""
import os
import signal
import threading

import pytest

from repfusion_mm.engine.resuming.stop_signal import (
    SIGNALS,
    StopSignal,
    heed_parent_alone,
)


@pytest.fixture(autouse=True)
def handlers():
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before):
        signal.signal(number, handler)


@pytest.mark.parametrize('number', SIGNALS)
def test_is_heard(number):
    stop = StopSignal()
    stop.listen()
    assert not stop.agreed()
    os.kill(os.getpid(), number)
    assert stop.agreed() and stop.name == number.name
    # the next one does what it did before
    assert signal.getsignal(number) == signal.SIG_DFL


def test_signals_of_others_are_theirs():
    heard = []
    signal.signal(signal.SIGUSR1, lambda *args: heard.append(args))
    stop = StopSignal()
    stop.listen()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert heard and not stop.agreed()
    stop.close()


def test_are_given_back():
    first = StopSignal()
    first.listen()  # of a training that ended with an error
    stop = StopSignal()
    stop.listen()
    assert signal.getsignal(signal.SIGTERM) == stop._take
    stop.close()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_not_in_another_thread():
    stop = StopSignal()
    thread = threading.Thread(target=stop.listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not stop.agreed()


@pytest.mark.skipif(not hasattr(signal, 'sigwaitinfo'), reason='not Linux')
def test_worker_heeds_its_parent_alone():
    """A signal of somebody else's does nothing, the parent's ends it."""
    ready, told = os.pipe(), os.pipe()
    worker = os.fork()
    if not worker:
        heed_parent_alone()
        stranger = os.fork()
        if not stranger:
            os.kill(os.getppid(), signal.SIGTERM)
            os._exit(0)
        os.waitpid(stranger, 0)
        os.write(ready[1], b'1')
        os.read(told[0], 1)  # for ever
        os._exit(1)
    assert os.read(ready[0], 1) == b'1'
    assert os.waitpid(worker, os.WNOHANG) == (0, 0)
    ended = 0
    while not ended:  # two that are not yet taken count as one
        os.kill(worker, signal.SIGTERM)
        ended, status = os.waitpid(worker, os.WNOHANG)
    assert os.waitstatus_to_exitcode(status) == 0
