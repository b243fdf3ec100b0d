"""Runs that are told to stop write all they have, and say so."""
import pytest

CODE = 75


def stopped(job, name, signal, at, **options):
    code = job.run(name, dict(what=signal, where='after_step', at=at,
                              workers_too=True), **options)
    assert code == CODE, job.said(name)[-3000:]
    path, checkpoint = job.last(name)
    assert path == str(job.path(name, 'interrupted.pth'))
    assert f'Stopped by {signal} after step {at + 1}: all of it is in ' \
        f'{path}, and --resume' in job.said(name)
    return checkpoint['meta']


def test_within_an_epoch(epochs, same_end):
    """With workers, which are sent the signal too; later it is killed."""
    meta = stopped(epochs, 'stopped', 'SIGTERM', 6)
    assert (meta['iter'], meta['epoch']) == (7, 1)
    assert epochs.run('stopped', dict(what='SIGKILL', where='after_step',
                                      at=10), resume=True) == -9
    # the next checkpoint has taken its place
    assert not epochs.path('stopped', 'interrupted.pth').exists()
    epochs.complete('stopped', resume=True)
    same_end(epochs, 'stopped', 'whole')
    # the batches after a resume have the numbers in their epoch
    assert {(one['iter'], one['batch']) for one in
            epochs.seen('stopped')} == {(i, i % 5) for i in range(15)}


@pytest.mark.slow
@pytest.mark.parametrize('at', [0, 4, 14])
def test_at_the_ends_of_an_epoch(epochs, same_end, at):
    name = f'stopped{at}'
    meta = stopped(epochs, name, 'SIGTERM', at)
    assert (meta['iter'], meta['epoch']) == (at + 1, at // 5)
    epochs.complete(name, resume=True)
    same_end(epochs, name, 'whole')


@pytest.mark.slow
def test_again_and_again(stage_1, same_end):
    for number, at in enumerate((1, 5, 10)):
        stopped(stage_1, 'again', 'SIGUSR1', at, resume=number > 0)
    stage_1.complete('again', resume=True)
    same_end(stage_1, 'again', 'whole')
