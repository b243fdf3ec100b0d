"""mmdet's detectors learn from their labelled images as from these alone."""
import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from torch.nn.modules.batchnorm import _BatchNorm

from repfusion_mm.models.distillers.labelled_rows import heads_see_batch
from repfusion_mm.models.distillers.task_heads import box_classes_of
from repfusion_mm.models.utils.building import build_part

pytest.importorskip('mmdet.models')
_spec = importlib.util.spec_from_file_location(
    'detectors', Path(__file__).with_name('detectors.py'))
detectors = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(detectors)
FAMILIES, SIZE = detectors.FAMILIES, detectors.SIZE
KINDS = [2, None, 0, 3, None]  # two boxes, unlabelled, nothing in it, ...
LABELLED = [0, 2, 3]
SEEN = dict(retinanet=dict(bbox_head=3), fcos=dict(bbox_head=3),
            rtmdet=dict(bbox_head=3), faster_rcnn={'roi_head.bbox_head': 3})


@pytest.fixture
def joint(build, pipeline_folder):

    def make(name, **parts):
        model = build(detectors.joint_config(
            FAMILIES[name](), pipeline_folder, **parts))
        model.init_weights()
        return model

    return make


def fix_statistics(task):
    for module in task.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def scattered(task):
    """Weights that are not where heads start, near zero."""
    generator = torch.Generator().manual_seed(0)
    for parameter in task.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(
                0, 1.5 * parameter[0].numel()**-0.5, generator=generator)


def flat(losses):
    """Tensors by name; a list has one for each level."""
    return {f'{name}{index}': one for name, value in losses.items()
            for index, one in enumerate(
                value if isinstance(value, list) else [value])}


def pixels(model, number):
    """Images as the preprocessor normalises them."""
    preprocessor = model.data_preprocessor
    images = torch.rand(number, 3, *SIZE) * 255
    return (images - preprocessor.mean) / preprocessor.std


def double(name):
    """Whether mmcv's operators and the family compute in float64."""
    # the suppression of proposals and RTMDet's assigner do not
    return name in ('retinanet', 'fcos')


def of_type(samples, dtype):
    for sample in samples:
        for instances in (sample.gt_instances, sample.ignored_instances):
            instances.bboxes = instances.bboxes.to(dtype)
    return samples


@pytest.mark.parametrize('name', FAMILIES)
def test_losses_are_those_of_the_labelled_alone(joint, name):
    dtype = torch.double if double(name) else torch.float
    model = joint(name)
    scattered(model.task)
    model.to(dtype).train()
    fix_statistics(model.task)
    samples = of_type(detectors.boxes(KINDS), dtype)
    inputs = pixels(model, 5).to(dtype)
    alone = flat(model.task.loss(inputs[LABELLED],
                                 [samples[row] for row in LABELLED]))
    torch.manual_seed(1)
    got = flat(model.loss(inputs, samples))
    assert {key for key in got if not key.startswith(
        ('loss_feature', 'mean_t'))} == set(alone)
    tolerance = 1e-10 if dtype is torch.double else 1e-5
    for key, value in alone.items():
        torch.testing.assert_close(got[key].to(dtype), value.to(dtype),
                                   rtol=tolerance, atol=tolerance, msg=key)
    boxes = [value for key, value in alone.items() if 'bbox' in key]
    assert boxes and sum(boxes) > 0
    assert got['loss_feature0'] > 0
    assert box_classes_of(model.task) == {
        key: 3 for key in box_classes_of(model.task)} and \
        set(SEEN[name]) <= set(box_classes_of(model.task))


@pytest.mark.parametrize('name', FAMILIES)
def test_unlabelled_images_do_not_matter_to_the_task(joint, name):
    """And of them alone there is no task's loss; the flag makes them so."""
    model = joint(name)
    scattered(model.task)
    model.train()
    inputs = pixels(model, 2)
    losses = model.loss(inputs, detectors.boxes([None, None]))
    assert set(losses) == {'loss_feature', 'mean_t'}
    losses['loss_feature'].backward()
    assert not any(parameter.grad is not None for path, parameter
                   in model.task.named_parameters() if 'head' in path)
    # an image without boxes alone is a negative
    losses = model.loss(inputs, detectors.boxes([0, 0]))
    total, _ = model.parse_losses(losses)
    total.backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0
               for path, parameter in model.task.named_parameters()
               if 'head' in path)


@pytest.mark.parametrize('name', FAMILIES)
def test_predicts_as_the_plain_model(joint, name):
    model = joint(name)
    scattered(model.task)
    model.eval()
    config = FAMILIES[name]()
    plain = build_part('model', ConfigDict(config)).eval()
    plain.load_state_dict(model.task.state_dict())
    images = [torch.randint(256, (3, 50, 70), dtype=torch.uint8),
              torch.randint(256, (3, 64, 61), dtype=torch.uint8)]
    found = []
    for one in (model, plain):
        samples = detectors.boxes([1, 1])
        for sample, image in zip(samples, images):
            sample.set_metainfo(dict(img_shape=tuple(image.shape[1:])))
        with torch.no_grad():
            found.append(one.test_step(dict(inputs=images,
                                            data_samples=samples)))
    for ours, theirs in zip(*found):
        assert len(theirs.pred_instances) > 0
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(ours.pred_instances[key],
                               theirs.pred_instances[key])


@pytest.mark.parametrize('name', FAMILIES)
def test_batch_norms_of_a_head_see_all(joint, name):
    """RTMDet's head is given the whole batch, the others their own rows."""
    model = joint(name)
    assert heads_see_batch(model.task) == (name == 'rtmdet')
    seen = []
    head = getattr(model.task, 'rpn_head' if name == 'faster_rcnn' else
                   'bbox_head')
    head.register_forward_pre_hook(
        lambda module, args: seen.append(len(args[0][0])))
    model.train().loss(pixels(model, 5), detectors.boxes(KINDS))
    assert set(seen) == {5 if name == 'rtmdet' else len(LABELLED)}


@pytest.mark.parametrize('name', ['retinanet', 'rtmdet'])
def test_teacher_sees_the_pixels(joint, name):
    """Normalisation, channel order and padding of mmdet are undone."""
    model = joint(name)
    images = [torch.randint(256, (3, 50, 70), dtype=torch.uint8),
              torch.randint(256, (3, 64, 61), dtype=torch.uint8)]  # BGR
    data = model.data_preprocessor(
        dict(inputs=[image.clone() for image in images],
             data_samples=detectors.boxes([1, 1])), training=True)
    assert data['inputs'].shape == (2, 3, 64, 96)
    raw = model.raw_image(data['inputs'], model.data_preprocessor)
    for found, image in zip(raw, images):
        height, width = image.shape[1:]
        torch.testing.assert_close(found[:, :height, :width],
                                   image.flip(0).float(), rtol=0, atol=1e-3)
        # what is padded with 0 has the mean colour, RGB
        mean = torch.tensor([123.7, 116.3, 103.5]) if name == 'retinanet' \
            else torch.tensor([123.675, 116.28, 103.53])
        for padding in (found[:, height:], found[:, :, width:]):
            torch.testing.assert_close(
                padding, mean[:, None, None].expand_as(padding), rtol=0,
                atol=1e-3)


def test_box_of_no_class(joint):
    model = joint('faster_rcnn')
    samples = detectors.boxes([1, 2])
    samples[1].set_metainfo(dict(img_path='b.jpg'))
    model.check_samples(samples)
    assert [sample.labelled for sample in samples] == [True, True]
    samples[1].gt_instances.labels[1] = 3
    with pytest.raises(ValueError, match=r"gt_instances.labels` of 'b.jpg' is "
                       r'3, but `task.roi_head.bbox_head.num_classes` is 3: '
                       'expected 0 to 2$'):
        model.check_samples(samples)


def test_starts_from_a_plain_detector(joint):
    model = joint('retinanet')
    plain = build_part('model', ConfigDict(FAMILIES['retinanet']()))
    scattered(plain)
    model.load_state_dict(plain.state_dict(), strict=False)
    for key, value in plain.state_dict().items():
        assert torch.equal(model.task.state_dict()[key], value)
