"""The ways of taking a training step that are timed, on the same weights."""
import copy
import logging
import tempfile
from pathlib import Path

from benchmarks.lib.plan import ROOT
from benchmarks.speed.runner_iteration import (
    register_images,
    runner_iteration,
)

WAYS = ('published', 'train_step', 'runner', 'limit', 'bank')
# a call of the bank's way is a whole run on a step's worth of images
STEPS = dict(bank=20)


class Ways:
    """The ways of taking a step, on the same weights.

    Args:
        pair (dict): Of ``PAIRS``.
        device (str): ``'cpu'`` or ``'cuda'``.
        batch (int): Images a step.
        only (str, optional): The one way that is wanted, for its memory.
        switches (dict, optional): ``teacher`` and ``student``: the switches
            of each, and ``amp``, a dtype, beside the student's.
    """

    def __init__(self, pair, device, batch, only=None, switches=None):
        import torch
        from mmengine.config import Config
        from mmengine.logging import MMLogger
        from mmengine.registry import init_default_scope

        from benchmarks.speed.published_step import PublishedStep
        from repfusion_mm.registry import MODELS
        MMLogger.get_instance('throughput').setLevel('ERROR')
        logging.disable(logging.WARNING)  # a line for each weight
        torch.manual_seed(0)
        self.torch, self.device, self.batch = torch, device, batch
        # as the published runs had it, and our configs have
        torch.backends.cudnn.benchmark = True
        self.size, self.only, self._data = pair['size'], only, None
        register_images()
        self.cfg = Config.fromfile(str(ROOT / 'configs' / pair['config']))
        if 'denoiser' in pair:
            denoiser = pair['denoiser']
            if isinstance(denoiser, str):
                denoiser = Config.fromfile(
                    str(ROOT / 'configs' / denoiser)).model.denoiser
            self.cfg.model.teacher.update(pretrained=None, config=denoiser)
        self.cfg.model.backbone.update(pair.get('student', {}))
        init_default_scope('mmpretrain')
        if 'baseline' not in self.cfg.model.time_sampler and \
                'Reinforced' in self.cfg.model.time_sampler.type:
            # the published loss has none
            self.cfg.model.time_sampler.baseline = 'none'
        self.sgd = dict(lr=0.1, momentum=0.9, weight_decay=1e-4)
        eager = MODELS.build(self.cfg.model)
        teacher = eager.teacher
        teacher.source.read = teacher.source.build  # random weights
        whole = teacher.read()
        teacher.init_weights = lambda: None  # not cut off behind the tap
        eager.init_weights()
        switches = switches or {}
        student = dict(switches.get('student', {}))
        self.amp = student.pop('amp', None)
        self.cfg.model.update(student)
        self.cfg.model.teacher.update(switches.get('teacher', {}))
        if only != 'published':
            self.model = MODELS.build(self.cfg.model)
            denoiser = copy.deepcopy(whole)
            self.model.teacher.read = lambda: denoiser
            self.model.init_weights()
            self.model.load_state_dict(eager.state_dict())
            self.model.to(device).train()
        if only in (None, 'published'):
            if teacher._condition:  # all images are told the same class
                forward = whole.forward
                whole.forward = lambda images, timesteps: forward(
                    images, timesteps, torch.zeros_like(timesteps))
            self._published = PublishedStep(
                eager.to(device).train(), whole.to(device), self.sgd)

    @property
    def names(self):
        """All ways; without the bank where the features are maps."""
        maps = self.model.connections[0].loss.needs_maps
        return [way for way in WAYS if way != 'bank' or not maps]

    def data(self):
        """A batch as the data loader of the config gives it, always the same.

        Drawing other images in each step would be timed with it: on a GPU it
        takes longer than the step.
        """
        from mmpretrain.structures import DataSample
        torch = self.torch
        if self._data is None:
            inputs = torch.randint(
                256, (self.batch, 3, self.size, self.size),
                dtype=torch.uint8)
            self._data = dict(
                inputs=inputs.pin_memory() if self.device == 'cuda'
                else inputs,
                data_samples=[DataSample().set_gt_label(i % 10)
                              for i in range(self.batch)])
        return dict(self._data)

    def published(self):
        """The published step."""
        return lambda: self._published.step(self.data())

    def train_step(self):
        """Our model's ``train_step``."""
        from mmengine.registry import OPTIM_WRAPPERS
        wrapper = OPTIM_WRAPPERS.build(dict(
            self.wrapper(), optimizer=self.torch.optim.SGD(
                self.model.parameters(), **self.sgd)))
        return lambda: self.model.train_step(self.data(), wrapper)

    def wrapper(self):
        """The optimiser's, for the student's dtype."""
        if self.amp == 'bfloat16':
            return dict(type='repfusion_mm.BFloat16OptimWrapper')
        return dict(type='AmpOptimWrapper', dtype=self.amp) if self.amp \
            else dict(type='OptimWrapper')

    def runner(self):
        """The Runner's iteration: data pipeline, hooks, logging, step."""
        return runner_iteration(self, self.model, 512)

    def bank(self):
        """20 epochs through the Runner, from an empty bank of whole images."""
        from repfusion_mm.registry import MODELS
        model = self.fixed_time()
        folder = Path(tempfile.mkdtemp(), 'bank')
        inner, network = dict(self.cfg.model.teacher), model.teacher.network
        inner.pop('compile', None)  # the number of images varies
        teacher = MODELS.build(dict(
            type='repfusion_mm.BankedTeacher', teacher=inner,
            taps=list(model.teacher.feature_shapes), bank=str(folder),
            dataset=dict(type='mmengine.GeneratedImages', count=self.batch,
                         size=self.size, pipeline=[dict(type='PackInputs')]),
            channel_order='rgb', timesteps=[model.time_sampler.t]))
        teacher.teacher.read = lambda: network  # the same weights
        model.teacher = teacher.to(self.device)
        teacher.init_weights()
        iterate = runner_iteration(self, model, self.batch)
        marks = folder / 'marks.u32'

        def empty():
            marks.write_bytes(bytes(marks.stat().st_size))
            # what it remembers of having been full
            vars(teacher._bank).update(_marked=0, _kept={})

        def run():
            empty()
            for _ in range(STEPS['bank']):
                iterate()

        def fill():
            empty()
            for _ in teacher.fill(self.batch):
                pass

        run.fill, run.iterate = fill, iterate  # its parts, to measure alone
        return run

    def fixed_time(self):
        """The model on the same weights, at one t and without a reward."""
        from repfusion_mm.registry import MODELS
        model = self.model if self.only else copy.deepcopy(self.model)
        model.reward = None
        model.time_sampler = MODELS.build(
            dict(type='repfusion_mm.FixedTime', t=100))
        return model

    def limit(self):
        """The bare student's step, and the denoiser up to the tap."""
        student, teacher = self.bare_student(), self.bare_teacher()

        def step():
            student()
            teacher()

        return step

    def bare_student(self):
        """The student's forward and backward pass, and its optimiser."""
        torch = self.torch
        student = copy.deepcopy(self.model.backbone)
        optimizer = torch.optim.SGD(student.parameters(), **self.sgd)
        images = self.images()
        if self.model.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)

        def step():
            optimizer.zero_grad()
            with torch.autocast(
                    self.device, getattr(torch, self.amp or 'bfloat16'),
                    enabled=bool(self.amp)):
                loss = student(images)[-1].mean()
            loss.backward()
            optimizer.step()

        return step

    def bare_teacher(self):
        """The denoiser up to the tap."""
        torch, teacher = self.torch, self.model.teacher
        images = self.images()
        timesteps = torch.randint(1000, (self.batch, ), device=self.device)
        classes = teacher._condition and torch.zeros_like(timesteps)

        @torch.no_grad()
        def step():
            teacher.features(images, timesteps, classes, False)

        return step

    def policy(self):
        """What the policy adds to a step, alone; None where there is none."""
        torch = self.torch
        sampler = copy.deepcopy(self.model.time_sampler)
        if not list(sampler.parameters()):
            return None
        optimizer = torch.optim.SGD(sampler.parameters(), **self.sgd)
        images = self.images() * 255
        reward = torch.rand(self.batch, device=self.device)

        def step():
            optimizer.zero_grad()
            losses = sampler.loss(sampler(images), reward, reward >= 0)
            sum(losses.values()).backward()
            optimizer.step()

        return step

    def images(self):
        """Images as the networks take them."""
        return self.torch.rand(self.batch, 3, self.size, self.size,
                               device=self.device)

    def same_losses(self):
        """Largest relative difference between our losses and the published."""
        data, torch = self.data(), self.torch
        torch.manual_seed(1)
        # a GPU would round the inputs of convolutions to ten bits
        torch.backends.cudnn.allow_tf32 = False
        with torch.autocast(self.device,
                            getattr(torch, self.amp or 'bfloat16'),
                            enabled=bool(self.amp)):
            ours = self.model(**self.model.data_preprocessor(data, True),
                              mode='loss')
        theirs = self._published.losses(data, self.model.timesteps)
        torch.backends.cudnn.allow_tf32 = True
        return max(
            float((ours[name] - loss).detach().abs() / loss.detach().abs())
            for name, loss in theirs.items())
