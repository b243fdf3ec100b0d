"""Through a real Runner of a model of one weight."""
import os

import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner

from repfusion_mm.engine.hooks import ExactResumeHook, SafeCheckpointHook
from repfusion_mm.engine.resuming import atomic_write


@MODELS.register_module()
class OneWeight(BaseModel):

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, sample_idx=None, mode='tensor'):
        if mode == 'predict':
            return [dict()]
        return dict(loss=(self.weight * torch.stack(list(x))).sum())


@DATASETS.register_module()
class Ones(BaseDataset):

    def load_data_list(self):
        return [dict(x=torch.ones(1)) for _ in range(4)]


@METRICS.register_module()
class Scores(BaseMetric):
    """Values that are known beforehand, one for each validation."""
    values: list = []

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(acc=Scores.values.pop(0))


@pytest.fixture
def run(tmp_path):

    def run(by_epoch=False, scores=(), interval=1, resume=False, hooks=(),
            exact=True, steps=4, **checkpoint):
        Scores.values = list(scores)
        loader = dict(batch_size=2, dataset=dict(type='Ones'),
                      sampler=dict(type='DefaultSampler', shuffle=False))
        validation = dict(
            val_dataloader=loader, val_cfg=dict(),
            val_evaluator=dict(type='Scores')) if scores else {}
        runner = Runner(
            model=dict(type='OneWeight'), work_dir=str(tmp_path),
            train_dataloader=loader, resume=resume,
            train_cfg=dict(by_epoch=True, max_epochs=steps) if by_epoch else
            dict(by_epoch=False, max_iters=steps, val_interval=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.)),
            default_hooks=dict(checkpoint=dict(
                type='CheckpointHook', interval=interval, by_epoch=by_epoch,
                **checkpoint)),
            custom_hooks=[ExactResumeHook()] * exact + list(hooks),
            cfg=dict(train_dataloader=loader),
            experiment_name=f'{len(os.listdir(tmp_path))}', **validation)
        runner.train()
        return runner

    return run


def checkpoints(folder):
    return sorted(name for name in os.listdir(folder) if '.pth' in name)


@pytest.fixture
def states(tmp_path, monkeypatch):
    """The checkpoints that are there when a new one is not yet."""
    seen = []
    replace = os.replace

    def look(draft, path):
        if path.endswith('.pth'):
            seen.append(checkpoints(tmp_path))
        replace(draft, path)

    monkeypatch.setattr(atomic_write.os, 'replace', look)
    return seen


@pytest.mark.parametrize('by_epoch', [True, False])
def test_old_one_stays_until_the_new_one_is_whole(run, states, tmp_path,
                                                  by_epoch):
    runner = run(by_epoch, max_keep_ckpts=1)
    kind = 'epoch' if by_epoch else 'iter'
    hooks = [type(hook) for hook in runner.hooks]
    assert SafeCheckpointHook in hooks and CheckpointHook not in hooks
    assert states == [[f'{kind}_1.pth.part']] + [
        [f'{kind}_{i}.pth', f'{kind}_{i + 1}.pth.part'] for i in (1, 2, 3)]
    assert checkpoints(tmp_path) == [f'{kind}_4.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == \
        str(tmp_path / f'{kind}_4.pth')


@pytest.mark.parametrize('kept, wanted', [
    (2, ['iter_3.pth', 'iter_4.pth']),
    (-1, [f'iter_{i}.pth' for i in (1, 2, 3, 4)])])
def test_as_many_are_kept(run, tmp_path, kept, wanted):
    run(max_keep_ckpts=kept)
    assert checkpoints(tmp_path) == wanted


def test_best_one_stays_until_the_new_one_is_whole(run, states, tmp_path):
    run(scores=[1., 3., 2., 4.], save_best='acc', max_keep_ckpts=1)
    best = [[name for name in one if name.startswith('best')]
            for one in states
            if any(name.startswith('best') and 'part' in name
                   for name in one)]
    assert best == [
        ['best_acc_iter_1.pth.part'],
        ['best_acc_iter_1.pth', 'best_acc_iter_2.pth.part'],
        ['best_acc_iter_2.pth', 'best_acc_iter_4.pth.part']]
    assert checkpoints(tmp_path) == ['best_acc_iter_4.pth', 'iter_4.pth']


@pytest.mark.parametrize('kept', [1, 2])
def test_as_mmengine_but_for_the_order(run, tmp_path, kept):
    """The files, their content and what is kept of both after a resume."""
    found = []
    for exact in (True, False):
        for resume, steps in ((False, 3), (True, 5)):
            runner = run(scores=[1., 3., 2., 5., 4.], exact=exact,
                         resume=resume, steps=steps, save_best='acc',
                         max_keep_ckpts=kept)
        info = dict(runner.message_hub.runtime_info)
        names = checkpoints(tmp_path)
        found.append((names, info['keep_ckpt_ids'], info['last_ckpt'],
                      info['best_ckpt'], info['best_score']))
        for name in names:
            os.remove(tmp_path / name)
        os.remove(tmp_path / 'last_checkpoint')
    assert found[0] == found[1]


def test_deleting_does_not_hit_what_was_written_again(run, tmp_path):
    """A best one of the same name, as of a step that runs a second time."""
    run(scores=[5., 1.], steps=2, save_best='acc', max_keep_ckpts=5)
    state = torch.load(tmp_path / 'iter_1.pth', weights_only=False)
    state['message_hub']['runtime_info'].update(best_score=0.,
                                                last_validated=0)
    torch.save(state, tmp_path / 'iter_1.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_1.pth'))
    run(scores=[6., 1.], steps=2, resume=True, save_best='acc',
        max_keep_ckpts=5)
    assert 'best_acc_iter_1.pth' in checkpoints(tmp_path)


def test_a_subclass_is_left_alone(run, tmp_path):

    class Theirs(CheckpointHook):
        pass

    theirs = Theirs(interval=1, by_epoch=False)
    runner = run(hooks=[theirs])
    assert theirs in runner.hooks


class Ends(Hook):
    """Ends a run in its validation."""

    def __init__(self, at):
        self.at = at

    def before_val(self, runner):
        if runner.iter == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('at', [1, 4])
def test_validation_is_made_up_for(run, tmp_path, by_epoch, at):
    iters = at * 2 if by_epoch else at
    with pytest.raises(KeyboardInterrupt):
        run(by_epoch, scores=[1., 2., 3., 4.], hooks=[Ends(iters)])
    assert Scores.values == [1., 2., 3., 4.][at - 1:]
    runner = run(by_epoch, scores=[1., 2., 3., 4.][at - 1:], resume=True)
    assert Scores.values == []
    found = runner.message_hub.get_scalar('val/acc').data[0]
    assert found.tolist() == [1., 2., 3., 4.]
    # of the last one no checkpoint knows, so that it is run again
    run(by_epoch, scores=[4.], resume=True)
    assert Scores.values == []


def test_folder_of_its_own(run, tmp_path):
    """Of ``out_dir``, where a truncated one is found out, too."""
    out = tmp_path / 'out'
    run(out_dir=str(out), steps=3)
    folder = out / tmp_path.name
    assert checkpoints(folder) == [f'iter_{i}.pth' for i in (1, 2, 3)]
    last = folder / 'iter_3.pth'
    last.write_bytes(last.read_bytes()[:1000])
    runner = run(out_dir=str(out), resume=True)
    assert runner.iter == 4
    assert checkpoints(folder) == [f'iter_{i}.pth' for i in (1, 2, 3, 4)]


def test_folder_that_cannot_be_written_to(run, tmp_path, monkeypatch):

    def fail(*args):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(atomic_write, 'open', fail, raising=False)
    with pytest.raises(PermissionError, match='Permission denied: .* could '
                       'not be written.*' + str(tmp_path)):
        run()
    assert not checkpoints(tmp_path)
