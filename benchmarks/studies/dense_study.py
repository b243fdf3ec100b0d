"""Studies whose stage 2 is dense: masks in mmseg, landmarks in mmpose."""
import copy
from pathlib import Path

from benchmarks.studies.percent_study import PercentStudy

ARMS = ('scratch', 'scratch_long', 'fixed', 'reinforced', 'joint')

_SHARED = dict(
    tap='mid_block.resnets.1', num_bins=20,
    fixed_t=[10, 50, 200], joint_weight=[1., 0.1, 0.01])
# what one CPU core can do in an hour and a half, at 64x64 pixels: half of a
# ResNet-18's channels and a smaller stride, a denoiser of 2.7 M parameters
SMOKE = dict(
    _SHARED, workers=0, amp=False,
    student=dict(stem_channels=32, base_channels=32, strides=(1, 2, 2, 1)),
    denoiser=dict(
        _delete_=True, sample_size=64, layers_per_block=1,
        block_out_channels=(16, 32, 64, 128), norm_num_groups=8,
        attention_head_dim=16,
        down_block_types=('DownBlock2D', 'DownBlock2D', 'DownBlock2D',
                          'AttnDownBlock2D'),
        up_block_types=('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D',
                        'UpBlock2D')),
    dpm=dict(iters=1200, batch=16, lr=1e-3, ema=0.005),
    distill=dict(iters=250, batch=16, lr=2e-3),
    finetune=dict(iters=250, batch=16, lr=2e-3))
# for a GPU, at 128x128 pixels; not run yet
FULL = dict(
    _SHARED, workers=12, amp=True, student={},
    denoiser=dict(
        sample_size=128, block_out_channels=(64, 64, 128, 128, 256),
        down_block_types=('DownBlock2D', ) * 4 + ('AttnDownBlock2D', ),
        up_block_types=('AttnUpBlock2D', ) + ('UpBlock2D', ) * 4),
    dpm=dict(iters=20000, batch=64, lr=2e-4, ema=0.001),
    distill=dict(iters=4000, batch=32, lr=2e-3),
    finetune=dict(iters=4000, batch=32, lr=2e-3))


class DenseStudy(PercentStudy):
    """The jobs of one run.

    The joint arm takes as many steps as both stages together, and half of
    each of its batches is labelled. A subclass names the task: its class
    attributes, ``images``, ``unlabelled_images``, ``task`` and what
    :class:`PercentStudy` asks for.
    """
    arms = dict.fromkeys(ARMS)
    configs: dict = {}  # scratch, init, joint, distill: under configs/
    choices = dict(fixed='fixed_t', joint='joint_weight')
    joint_share = 0.5  # of labelled images in each batch
    student_path = ''  # of the student in the task's model, as a module
    student_key = ''  # and in its config
    num_train = 0  # training images

    def __init__(self, args, *inputs):
        super().__init__(args, *inputs)
        self.shown = {}  # folder of each arm's pictures

    # --- what a task must say -----------------------------------------------
    def images(self, split, training):
        """Config of a labelled data set of this study."""
        raise NotImplementedError

    def unlabelled_images(self):
        """Config of the training images for the diffusion model."""
        raise NotImplementedError

    def task(self, cfg, path):
        """Fit a config to the task: sizes, classes, heads.

        Args:
            cfg (Config): Of stage 2, joint training or stage 1.
            path (str): Of the task's model in it, ``'model'`` or
                ``'model.task'``; empty in stage 1, which has none.
        """
        raise NotImplementedError

    # --- data ---------------------------------------------------------------
    def num_images(self, percent):
        labelled = round(self.num_train * percent / 100)
        return labelled, self.num_train - labelled

    def few(self, percent, part, seed):
        """The labelled or the unlabelled part of the training images."""
        return dict(
            type='repfusion_mm.FewLabels', part=part, seed=seed,
            num_labelled=self.num_images(percent)[0],
            dataset=self.images('train', True))

    # --- jobs ---------------------------------------------------------------
    def dpm(self):
        """The diffusion model; returns its folder and the job's key."""
        budget = self.size['dpm']
        cfg = self.config(
            'dpm/unet_64px_folder.py', 'dpm', self.unlabelled_images(), 0,
            model=dict(denoiser=self.size['denoiser']),
            optim_wrapper=dict(clip_grad=dict(max_norm=1.)),
            custom_hooks=[dict(type='EMAHook', momentum=budget['ema']),
                          dict(type='repfusion_mm.DPMExportHook')])
        _, key = self.fit('dpm', 'dpm', cfg)
        return str(self.jobs / 'dpm' / 'dpm'), key

    def distillation(self, t=None):
        """What the config of a distillation is changed by, and a key."""
        folder, key = self.dpm()
        model = dict(teacher=dict(pretrained=folder))
        hooks = [dict(type='repfusion_mm.TimeSamplerHook')]
        if t is not None:
            model.update(
                time_sampler=dict(_delete_=True,
                                  type='repfusion_mm.FixedTime', t=t),
                reward=None)
        else:
            model['time_sampler'] = dict(
                num_bins=self.size['num_bins'], entropy_weight=0.1)
            hooks = [dict(
                type='repfusion_mm.TimeSamplerHook',
                schedules=[dict(attribute='entropy_weight', end=0.)])]
        return dict(model=model, custom_hooks=hooks), key

    def connected(self, cfg, tap):
        """The config with its one connection at these taps."""
        connection = cfg.model.connections[0]
        connection.update(student_tap=tap, teacher_tap=self.size['tap'])
        return cfg

    def distill(self, arm, percent, seed, choice=None):
        """Stage 1; returns the checkpoint and the key of the job."""
        changes, after = self.distillation(choice)
        changes['model']['backbone'] = dict(depth=18, **self.size['student'])
        cfg = self.config(
            self.configs['distill'], 'distill',
            self.mixture(percent, seed, self.labelled_share), seed, **changes)
        self.task(cfg, '')
        name = self.job_name('distill', arm, percent, seed, choice)
        return self.fit(name, 'distill', self.connected(cfg, 'out.-1'),
                        after=after)

    def finetune(self, arm, percent, seed, split='test', choice=None):
        """Stage 2, or both at once, and the test; returns its scores."""
        student, after = self.size['student'], ''
        backbone = dict(depth=18, **copy.deepcopy(student))
        labelled = self.few(percent, 'labelled', seed)
        if arm == 'joint':
            changes, after = self.distillation()
            changes['model']['distill_weight'] = choice
            cfg = self.config(
                self.configs['joint'], 'both',
                self.mixture(percent, seed, self.joint_share), seed,
                **changes)
            self.connected(cfg, f'{self.student_path}.layer4')
            path = 'model.task'
        else:
            start, budget, path = 'scratch', 'finetune', 'model'
            if arm == 'scratch_long':
                budget = 'both'
            elif arm != 'scratch':
                checkpoint, after = self.distill(arm, percent, seed, choice)
                backbone['init_cfg'] = dict(checkpoint=checkpoint)
                start = 'init'
            cfg = self.config(self.configs[start], budget, labelled, seed)
        cfg.merge_from_dict({f'{path}.{self.student_key}': backbone})
        self.task(cfg, path)
        name = self.job_name('finetune', arm, percent, seed, choice) + \
            f'_{split}'
        few = percent == min(self.args.labels)
        show = None
        if split == 'test' and few and seed == self.args.first_seed:
            show, self.shown[arm] = 'pictures', self.jobs / name / 'show'
        (scores, weights), _ = self.fit(name, 'finetune', cfg, split, after,
                                        show)
        Path(weights).unlink(missing_ok=True)
        return scores

    def pictures(self):
        """Predictions of each arm side by side, with the fewest labels.

        They come from the first seed; written to ``pictures.png``.
        """
        import cv2
        from matplotlib.figure import Figure
        columns = {}
        for arm, folder in self.shown.items():
            paths = sorted(path for path in folder.rglob('*.*')
                           if path.suffix in ('.png', '.jpg'))
            columns[arm] = [cv2.imread(str(path))[..., ::-1]
                            for path in paths]
        columns = self.with_truth(columns)
        rows = len(next(iter(columns.values())))
        figure = Figure(figsize=(2.2 * len(columns), 1.8 * rows),
                        layout='constrained')
        grid = figure.subplots(rows, len(columns), squeeze=False)
        for place, (arm, images) in enumerate(columns.items()):
            grid[0, place].set_title(arm, fontsize=9)
            for axes, image in zip(grid[:, place], images):
                axes.imshow(image)
                axes.axis('off')
        figure.savefig(self.out / 'pictures.png', dpi=100)

    def with_truth(self, columns):
        """The columns of pictures, and the truth where they show it."""
        return columns
