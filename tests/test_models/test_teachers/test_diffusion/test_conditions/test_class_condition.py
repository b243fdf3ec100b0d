import pytest
import torch
from mmengine.dataset import (
    BaseDataset,
    ClassBalancedDataset,
    ConcatDataset,
    RepeatDataset,
)

from repfusion_mm.datasets import FewLabels

MATCH = ('`teacher.class_condition.class_map` has no entry for the label 7'
         '{} of `train_dataloader.dataset`, only for 0, 2$')


class Images(BaseDataset):
    """Annotations in memory."""

    def __init__(self, labels, **kwargs):
        self.labels = labels
        super().__init__(**kwargs)

    def load_data_list(self):
        return [dict(img_path=f'{index}.png', gt_label=label)
                for index, label in enumerate(self.labels)]

    def get_cat_ids(self, index):
        return [self.get_data_info(index)['gt_label']]


@pytest.fixture
def teacher(build, tiny):
    """A teacher that knows the classes of the labels 0 and 2."""

    def make(load=False, **cfg):
        cfg.setdefault('class_condition', dict(class_map={0: 3, 2: 1}))
        module = build(dict(
            type='repfusion_mm.UNetTeacher', taps=['mid_block.resnets.0'],
            config=dict(tiny, num_class_embeds=4), **cfg))
        if load:
            module.init_weights()
        return module

    return make


def wrapped(labels):
    """A data set in all that is put around one."""
    yield Images(labels), ' of image 3 .3.png.'
    yield Images(labels, lazy_init=True), ' of image 3 .3.png.'
    yield Images(labels, serialize_data=False), ' of image 3 .3.png.'
    yield (ConcatDataset([Images([0, 2]), Images(labels)]),
           ' of image 5 .3.png.')
    yield RepeatDataset(Images(labels), 2), ' of image 3 .3.png.'
    yield ClassBalancedDataset(Images(labels), 0.5), ' of image .* .3.png.'
    yield FewLabels(Images(labels)), ' of image 3 .3.png.'


def test_data_sets(teacher):
    module = teacher()
    for dataset, whose in wrapped([0, 2, -1, 7]):
        with pytest.raises(ValueError, match=MATCH.format(whose)):
            module.check_dataset(dataset)
    for dataset, _ in wrapped([0, 2, 2, 0]):
        module.check_dataset(dataset)
    module.check_dataset(FewLabels(Images([0, 2, 7]), num_labelled=0,
                                   part='unlabelled'))


def test_data_sets_that_cannot_be_looked_at(teacher):
    module = teacher()
    module.check_dataset([1, 2])
    module.check_dataset(Images([None]))


def test_nothing_is_read_without_a_map(teacher):
    module = teacher(class_condition=dict(average='all'))
    module.check_dataset(Images([7]))
    module.check_samples([None])


def test_batches(teacher, samples):
    module = teacher()
    module.check_samples(samples([0, -1, 2]))
    module.check_samples([])
    with pytest.raises(ValueError, match='no entry for the label 7, only'):
        module.check_samples(samples([0, 7]))


def test_a_model_asks_its_teacher(build, repfusion, samples, teacher, tiny):
    model = build(repfusion(reward=None, time_sampler=dict(
        type='repfusion_mm.FixedTime', t=0), teacher=dict(
            type='repfusion_mm.UNetTeacher',
            config=dict(tiny, num_class_embeds=4),
            class_condition=dict(class_map=[3, 1]))))
    model.check_samples(samples([0, -1]))
    with pytest.raises(ValueError, match='no entry for the label 2'):
        model.check_samples(samples([0, 2]))


@pytest.mark.parametrize('compile', [False, dict(backend='eager')])
def test_nothing_wraps_on_a_device(teacher, images, timesteps, compile):
    """Where labels cannot be looked at, a wrong one's features are NaN."""
    module = teacher(load=True, compile=compile)
    looks = module._condition
    looks.check_labels = lambda *_: None  # as for labels that are on a GPU
    good = module(images, timesteps, torch.tensor([0, 2, -1, 0]))
    for wrong in (1, 7, 10**9, -2, -3, -10**9):
        bad = module(images, timesteps, torch.tensor([0, wrong, -1, 0]))
        for tap in good:
            assert good[tap].isfinite().all()
            assert bad[tap][1].isnan().all()
            others = torch.tensor([0, 2, 3])
            assert torch.equal(bad[tap][others], good[tap][others])
        rows = looks.rows(images, torch.tensor([0, wrong, -1, 0]))
        assert rows.min() >= 0
        assert rows.max() < len(module.denoiser.class_embedding.weight)


@pytest.mark.slow
def test_nothing_wraps_by_inductor(teacher, images, timesteps):
    test_nothing_wraps_on_a_device(teacher, images, timesteps, True)


@pytest.mark.gpu
def test_nothing_wraps_on_a_gpu(teacher, images, timesteps):
    module = teacher().cuda()
    module.init_weights()
    labels = torch.tensor([0, 7, -2, 2]).cuda()
    found = module(images.cuda(), timesteps.cuda(), labels)
    lost = found[next(iter(found))].isnan().flatten(1).all(1)
    assert lost.tolist() == [False, True, True, False]
