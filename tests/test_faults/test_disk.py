"""A disk that is full, or that nobody may write to."""
import pytest


def whole_one(job, name, iteration):
    """The last checkpoint is there, and nothing else is."""
    path, checkpoint = job.last(name)
    assert path == str(job.path(name, f'iter_{iteration}.pth'))
    assert checkpoint['meta']['iter'] == iteration
    assert not list(job.path(name, '.').glob('*.part'))


def test_full(stage_1):
    """By a limit of the system's to the size of files."""
    code = stage_1.run('full', dict(what='full_disk', where='after_step',
                                    at=4))
    assert code == 1
    assert 'File too large: ' in stage_1.said('full')
    assert 'what was there before is unharmed: ' \
        f"'{stage_1.path('full', 'iter_6.pth')}'" in stage_1.said('full')
    whole_one(stage_1, 'full', 3)


@pytest.mark.slow
@pytest.mark.parametrize('at', ['iter_6.pth', 'last_checkpoint'])
@pytest.mark.parametrize('where', ['half_written', 'before_rename'])
def test_errors(stage_1, same_end, where, at):
    """The other files are either all there or as they were."""
    name = f'{where}_{at}'
    fault = dict(what='ENOSPC', where=where, at=at)
    if at == 'last_checkpoint':  # the second one
        assert stage_1.run(name, dict(what='SIGKILL', where='end_of_step',
                                      at=2)) == -9
    assert stage_1.run(name, fault, resume=at == 'last_checkpoint') == 1
    assert 'No space left on device' in stage_1.said(name)
    whole_one(stage_1, name, 3)
    stage_1.complete(name, resume=True)
    same_end(stage_1, name, 'whole')


@pytest.mark.slow
def test_work_dir_that_cannot_be_written_to(stage_1):
    """It is told before the first step."""
    assert stage_1.run('forbidden', dict(
        what='EROFS', where='before_rename', at='.can_be_written')) == 1
    said = stage_1.said('forbidden')
    assert "[Errno 30] Read-only file system: 0.0 MB could not be " in said
    assert str(stage_1.path('forbidden', '')) in said
    assert not stage_1.path('forbidden', 'seen_0.jsonl').exists()


@pytest.mark.slow
def test_truncated(stage_1, same_end):
    """The one before it is taken."""
    name = 'truncated'
    assert stage_1.run(name, dict(what='SIGKILL', where='after_rename',
                                  at='iter_6.pth')) == -9
    good, bad = (stage_1.path(name, f'iter_{i}.pth') for i in (3, 6))
    stage_1.path(name, 'last_checkpoint').write_text(str(bad))
    content = bad.read_bytes()
    bad.write_bytes(content[:len(content) // 2])
    stage_1.complete(name, resume=True)
    assert f'{bad} is truncated, with {len(content) // 2:,} bytes; the ' \
        f'training goes on from the one before it, {good}' in \
        stage_1.said(name)
    same_end(stage_1, name, 'whole')
