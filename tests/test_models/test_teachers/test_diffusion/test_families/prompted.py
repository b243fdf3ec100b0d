"""What every family of diffusion models with prompts has to show."""
import pytest
import torch


@pytest.mark.slow
class PromptedFamily:
    """Tests of a family, whose fixture ``make`` takes the prompts of a batch.

    Attributes:
        taps (list[str]): Where switches are compared.
        prompts (Sequence[str]): The empty one, a cat's and a dog's.
    """
    taps: list
    prompts: tuple

    def test_class_names(self, proof, make):
        proof.labels = torch.tensor([0, 1, -1])
        nothing, cat, dog = self.prompts
        family = make((cat, dog, nothing),
                      condition=dict(class_names=['cat', 'dog']))
        proof.all_paths(family)
        proof.switches(family, self.taps)

    def test_early_exit_of_every_path(self, proof, make):
        family = make()
        proof.early_exit(family, list(proof.wanted(family)))
