"""Two processes, of which one dies, hangs, or is told to stop."""
import pytest
import torch

TIMEOUT = 20  # seconds, of `env_cfg.dist_cfg.timeout`
OPTIONS = [f'env_cfg.dist_cfg.timeout={TIMEOUT}',
           'randomness.diff_rank_seed=True']


def run(job, name, fault=None, resume=False, processes=2):
    return job.run(name, fault, resume, OPTIONS, processes)


@pytest.mark.parametrize('rank', [1, pytest.param(0, marks=pytest.mark.slow)])
def test_one_dies(stage_1, rank):
    """The other one does not wait for it."""
    name = f'dies{rank}'
    codes = run(stage_1, name, dict(what='SIGKILL', where='before_step',
                                    at=4, rank=rank))
    assert codes[rank] == -9 and codes[1 - rank] == 1
    assert 'onnection' in stage_1.said(name)
    assert stage_1.last(name)[1]['meta']['iter'] == 3


@pytest.mark.slow
def test_one_hangs(stage_1):
    codes = run(stage_1, 'hangs', dict(what='SIGSTOP', where='before_step',
                                       at=4, rank=1))
    assert codes == [1, None]
    assert 'imed out' in stage_1.said('hangs')


@pytest.fixture(scope='module')
def two(stage_1):
    """A run of two that nothing happened to."""
    stage_1.complete('two', options=OPTIONS, processes=2)
    return stage_1


@pytest.mark.slow
def test_resumed(two, same_end):
    assert run(two, 'killed', dict(what='SIGKILL', where='after_step', at=7,
                                   rank=1))[1] == -9
    two.complete('killed', options=OPTIONS, processes=2, resume=True)
    same_end(two, 'killed', 'two', processes=2)


@pytest.mark.slow
@pytest.mark.parametrize('rank', [0, 1])
def test_one_is_told_to_stop(two, same_end, rank):
    """Both end behind the same step, one later than a single one would."""
    name = f'stopped{rank}'
    codes = run(two, name, dict(what='SIGTERM', where='after_step', at=4,
                                rank=rank))
    assert codes == [75, 75]
    assert two.last(name)[1]['meta']['iter'] == 6
    for one in (0, 1):
        assert two.seen(name, one)[-1]['iter'] == 5
    two.complete(name, options=OPTIONS, processes=2, resume=True)
    same_end(two, name, 'two', processes=2)


def order(job, name, processes):
    """The images by their places in the order that is shared out."""
    steps = {}
    for rank in range(processes):
        for one in job.seen(name, rank):
            steps.setdefault(one['iter'], []).append(one['images'])
    return {step: [image for images in zip(*ranks) for image in images]
            for step, ranks in steps.items()}


@pytest.mark.slow
@pytest.mark.parametrize('before, after', [(2, 1), (1, 2)])
def test_another_number_of_processes(two, before, after):
    """The order goes on, and each image is augmented as it would have been."""
    name = f'{before}to{after}'
    fault = dict(what='SIGKILL', where='before_step', at=6)
    run(two, name, fault, processes=before)
    two.complete(name, options=OPTIONS, processes=after, resume=True)
    whole = [image for step, images in sorted(order(two, 'two', 2).items())
             for image in images]
    # the steps that a killed run had done, and those of the other
    done = sorted(order(two, name, before).items())[:6]
    rest = order(two, name, after)
    found = [image for _, images in done for image in images]
    found += [image for step in range(6, 12) for image in rest[step]]
    assert found == whole[:len(found)] or found[:len(whole)] == whole
    saved = two.last(name)[1]
    assert saved['meta']['iter'] == 12
    assert all(torch.isfinite(one).all()
               for one in saved['state_dict'].values())
