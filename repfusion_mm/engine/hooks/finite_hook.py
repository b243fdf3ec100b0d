"""Keeps numbers that are not finite out of any training."""
import functools
from typing import Any, Callable

from mmengine.hooks import Hook

from repfusion_mm.models.utils.finite_check import FiniteCheck
from repfusion_mm.registry import HOOKS

from .bare_model import bare_model
from .finite_weights import FiniteWeights


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stops at a loss that is not finite, and writes no such weights.

    For models of any library, as in stage 2; ours look at their losses
    themselves. Of several processes all end in the same error; see
    :class:`FiniteCheck`. On a GPU no step waits for it.

    Example:
        >>> custom_hooks = [dict(type='repfusion_mm.FiniteHook')]
    """
    priority = 'NORMAL'

    def before_train(self, runner) -> None:
        """Look at all losses from now on, before they are minimised.

        Args:
            runner (Runner): The runner.
        """
        model = bare_model(runner)
        self._finite_weights = FiniteWeights(model)
        own = vars(model).get('finite')
        self._finite = own or FiniteCheck()
        if own is None:
            model.parse_losses = _checked(model.parse_losses, self._finite)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep weights that are not finite out of the checkpoint.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What is about to be written.

        Raises:
            FloatingPointError: If a loss was not finite, or a weight is not.
        """
        self._finite.wait()
        self._finite_weights.check(checkpoint)

    def after_train(self, runner) -> None:
        """Hear of the last steps' losses, too.

        Args:
            runner (Runner): The runner.

        Raises:
            FloatingPointError: If one was not finite.
        """
        vars(bare_model(runner)).pop('parse_losses', None)
        self._finite.wait()


def _checked(parse_losses: Callable, finite: FiniteCheck) -> Callable:

    @functools.wraps(parse_losses)
    def parse(losses: dict) -> Any:
        finite.check(losses)
        return parse_losses(losses)

    return parse
