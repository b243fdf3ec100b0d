"""Studies whose stage 2 is dense: masks in mmseg, landmarks in mmpose."""
import copy

from benchmarks.studies.study import Study, settled_policy

ARMS = dict.fromkeys((
    'scratch', 'scratch_long', 't0', 'uniform', 'fixed', 'reinforced',
    'constant', 'joint'))
_FAST = dict(dtype='bfloat16', channels_last=True)
# what two CPU cores do in hours: images of 64x64 pixels for half of a
# ResNet-18's channels and a smaller stride; the diffusion model, of 2.7 M
# parameters, sees half of their side
SMALL = dict(
    workers=0, amp=True, teacher=_FAST,
    student=dict(stem_channels=32, base_channels=32, strides=(1, 2, 2, 1)),
    student_switches=dict(channels_last=True),
    denoiser=dict(
        _delete_=True, sample_size=32, layers_per_block=1,
        block_out_channels=(32, 64, 128), norm_num_groups=8,
        attention_head_dim=32,
        down_block_types=('DownBlock2D', 'DownBlock2D', 'AttnDownBlock2D'),
        up_block_types=('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D')),
    dpm=dict(iters=5000, batch=32, lr=1e-3, ema=0.002),
    distill=dict(iters=1500, batch=16, lr=2e-3),
    finetune=dict(iters=600, batch=16, lr=None),
    lrs=(5e-4, 1.5e-3, 4.5e-3), num_fixed=3)
# for a GPU, at 128x128 pixels; not run yet
FULL = dict(
    workers=12, amp=True, teacher=_FAST, student={},
    student_switches=dict(channels_last=True),
    denoiser=dict(
        sample_size=128, block_out_channels=(64, 64, 128, 128, 256),
        down_block_types=('DownBlock2D', ) * 4 + ('AttnDownBlock2D', ),
        up_block_types=('AttnUpBlock2D', ) + ('UpBlock2D', ) * 4),
    dpm=dict(iters=20000, batch=64, lr=2e-4, ema=0.001),
    distill=dict(iters=4000, batch=32, lr=2e-3),
    finetune=dict(iters=4000, batch=32, lr=None),
    lrs=(5e-4, 1.5e-3, 4.5e-3), num_fixed=3)
# to see that everything runs, in minutes
TOY = dict(
    workers=0, amp=False, teacher={}, student_switches={},
    student=dict(stem_channels=8, base_channels=8, strides=(1, 2, 2, 1)),
    denoiser=dict(
        _delete_=True, sample_size=64, layers_per_block=1,
        block_out_channels=(8, 8, 16), norm_num_groups=4,
        attention_head_dim=8, down_block_types=('DownBlock2D', ) * 3,
        up_block_types=('UpBlock2D', ) * 3),
    dpm=dict(iters=2, batch=4, lr=1e-3, ema=0.1),
    distill=dict(iters=2, batch=4, lr=1e-3),
    finetune=dict(iters=2, batch=4, lr=None),
    lrs=(1e-3, ), num_fixed=1)


class DenseStudy(Study):
    """The jobs of one run.

    The joint arm takes as many steps as both stages together, and as many
    labelled images a step as from scratch, beside as many others. A subclass
    names the task: its class attributes, ``images``, ``unlabelled_images``,
    ``task`` and what :class:`Study` asks for.
    """
    arms = ARMS
    left_out = ('constant', 'joint')
    needs_labels = ('reinforced', 'constant')
    labelled_share = 0.25
    shown = 'pictures'
    configs: dict = {}  # scratch, init, joint, distill: under configs/
    student_path = ''  # of the student in the task's model, as a module
    student_key = ''  # and in its config
    num_train = 0  # training images

    # --- what a task must say -----------------------------------------------
    def images(self, split, training, augmented=True):
        """Config of a labelled data set of this study.

        Args:
            split (str): Of the study.
            training (bool): Whether its labels are made for training; if not
                they are at the images' own size, for the test.
            augmented (bool): Whether the images are, in training.

        Returns:
            dict: The config.
        """
        raise NotImplementedError

    def unlabelled_images(self):
        """Config of the training images for the diffusion model, at the side
        that it is made for."""
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
    def num_images(self, labels):
        labelled = self.num_train if labels == 'all' else labels
        return labelled, self.num_train - labelled

    def few(self, labels, part, seed):
        """The labelled or the unlabelled part of the training images."""
        return dict(
            type='repfusion_mm.FewLabels', part=part, seed=seed,
            num_labelled=self.num_images(labels)[0],
            dataset=self.images('train', True))

    def val_images(self):
        return self.images('val', True, augmented=False)

    # --- jobs ---------------------------------------------------------------
    def dpm_config(self):
        budget = self.size['dpm']
        return self.config(
            'dpm/unet_64px_folder.py', 'dpm', self.unlabelled_images(), 0,
            model=dict(denoiser=self.size['denoiser']),
            optim_wrapper=dict(clip_grad=dict(max_norm=1.)),
            custom_hooks=[dict(type='EMAHook', momentum=budget['ema']),
                          dict(type='repfusion_mm.DPMExportHook')])

    def distillation(self, arm, labels, seed, t=None, tap=None):
        if labels is None:  # of all images: none is told apart
            dataset = self.few(0, 'unlabelled', 0)
        else:
            dataset = self.mixture(labels, seed, self.labelled_share)
        model = dict(backbone=dict(depth=18, **self.size['student']),
                     **self.size['student_switches'])
        cfg = self.config(self.configs['distill'], 'distill', dataset, seed,
                          **self._distilled(arm, t, model))
        self.task(cfg, '')
        return self._connected(cfg, 'out.-1', tap)

    def _distilled(self, arm, t, model):
        """What a distillation changes in a config."""
        model['teacher'] = dict(pretrained=self.dpm.weights,
                                **self.size['teacher'])
        hook = dict(type='repfusion_mm.TimeSamplerHook')
        sampler = dict(uniform=dict(type='repfusion_mm.UniformTime'),
                       fixed=dict(type='repfusion_mm.FixedTime', t=t),
                       t0=dict(type='repfusion_mm.FixedTime', t=0)).get(arm)
        changes = dict(model=model, custom_hooks=[hook])
        if sampler:
            model.update(time_sampler=dict(_delete_=True, **sampler),
                         reward=None)
            return changes
        policy, changes['optim_wrapper'] = settled_policy()
        if arm == 'constant':
            policy['time_sampler']['policy'] = dict(
                _delete_=True, type='repfusion_mm.ConstantPolicy')
        model.update(policy)
        return changes

    def _connected(self, cfg, student_tap, tap):
        """The config with its one connection at these taps."""
        cfg.model.connections[0].update(
            student_tap=student_tap, teacher_tap=tap or self.tap['tap'])
        return cfg

    def distill(self, arm, labels, seed, t=None):
        return self.stage_1(arm, labels, seed, t, self.distillation(
            arm, labels, seed, t), self.dpm)

    def start_from(self, labels, seed, budget, first):
        cfg = self.config(
            self.configs['scratch' if first is None else 'init'], budget,
            self.few(labels, 'labelled', seed), seed)
        init = {} if first is None else dict(
            init_cfg=dict(checkpoint=first.weights))
        return self._with_student(cfg, 'model', init)

    def joint(self, labels, seed):
        changes = self._distilled('joint', None, dict(
            **self.size['student_switches']))
        cfg = self.config(
            self.configs['joint'], 'both', self.mixture(labels, seed, 0.5),
            seed, **changes)
        cfg.train_dataloader.batch_size *= 2
        self._connected(cfg, f'{self.student_path}.layer4', None)
        return self._with_student(cfg, 'model.task', {})

    def _with_student(self, cfg, path, init):
        """The config with this study's student, and fitted to the task."""
        cfg.merge_from_dict({f'{path}.{self.student_key}': dict(
            depth=18, **copy.deepcopy(self.size['student']), **init)})
        self.task(cfg, path)
        return cfg

    def pictures(self):
        """Predictions of each arm side by side, with the fewest labels.

        They come from the first seed; written to ``pictures.png``.
        """
        import cv2
        from matplotlib.figure import Figure
        columns = {}
        for arm in self.args.arms:
            job = self.finetune(arm, self.args.labels[0],
                                self.args.first_seed)
            paths = sorted(path for path in (job.folder / 'show').rglob('*.*')
                           if path.suffix in ('.png', '.jpg'))
            if paths:  # not of a score that another machine has recorded
                columns[arm] = [cv2.imread(str(path))[..., ::-1]
                                for path in paths]
        if not columns:
            return
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
