"""What is chosen on validation images, by a seed that is not reported."""
import functools

from benchmarks.studies.task_study import SELECTION_SEED

LENGTHS = ('finetune', 'both')  # steps of stage 2: its own, or both stages'


class Choices:
    """The learning rates, lengths and the fixed t of a study.

    All are chosen with the first of the study's numbers of labels. From
    scratch each length has its best learning rate, since both are reported;
    from a distilled backbone the best of both is taken, for all arms alike:
    that of the fixed t which a linear probe puts first. Of the best of the
    fixed t by that probe the best one after fine-tuning is taken.

    Args:
        study (Study): Whose choices they are; ``size`` has ``lrs`` and
            ``num_fixed``.
        given (dict): Of an earlier :meth:`record`: what it holds is not
            chosen again.
    """

    def __init__(self, study, given):
        self.study, self.given = study, given

    @functools.cached_property
    def starts(self):
        """What stage 2 starts from: the trials by (lr, length)."""
        study, trials = self.study, {}
        for start, arm, lengths in (
                ('scratch', 'scratch', LENGTHS[:1]),
                ('scratch_long', 'scratch', LENGTHS[1:]),
                ('distilled', 'fixed', LENGTHS)):
            if start in self.given:
                continue
            trials[start] = {(lr, length): self._trial(
                arm, lr, length, study.probed_t()[0])
                for length in lengths for lr in study.size['lrs']}
        return trials

    @functools.cached_property
    def times(self):
        """The trials of the fixed t, by t."""
        study = self.study
        if 'fixed t' in self.given:
            return {}
        lr, length = self.of('fixed')
        return {t: self._trial('fixed', lr, length, t)
                for t in study.probed_t()[:study.size['num_fixed']]}

    def of(self, arm):
        """Learning rate and length of an arm; the joint one is from scratch,
        too."""
        start = dict(scratch='scratch', scratch_long='scratch_long',
                     joint='scratch_long').get(arm, 'distilled')
        if start in self.given:
            return tuple(self.given[start]['chosen'])
        return self._best(self.starts[start])

    def t(self):
        """The best fixed t."""
        if 'fixed t' in self.given:
            return self.given['fixed t']['chosen']
        return self._best(self.times)

    def record(self):
        """All of it in numbers, for the report."""
        made = {**self.starts, 'fixed t': self.times}
        return {**self.given, **{start: dict(
            chosen=self._best(tried), tried=[
                [choice, trial.result()[self.study.metric]]
                for choice, trial in tried.items()] if len(tried) > 1 else [])
            for start, tried in made.items() if tried}}

    def _trial(self, arm, lr, length, t):
        return self.study.finetune(
            arm, self.study.args.labels[0], SELECTION_SEED, 'val', lr, length,
            t if arm == 'fixed' else None)

    def _best(self, trials):
        """The choice with the best score; one alone needs no trial."""
        if len(trials) == 1:
            return next(iter(trials))
        best = max if self.study.higher_is_better else min
        return best(trials, key=lambda choice: trials[choice].result()[
            self.study.metric])
