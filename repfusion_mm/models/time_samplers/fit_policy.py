"""A policy fitted to what each action is worth, without drawing any."""
import torch
from torch import Tensor, nn

MOST_IMAGES = 128  # views of images, that is
ITERATIONS = 15
# gently first: a saturated softmax has no gradient, and a small temperature
# would saturate it at once
COOLING = (100., 10., 1.)


@torch.enable_grad()
def fit_policy(policy: nn.Module, images: Tensor, values: Tensor,
               temperature: Tensor) -> None:
    """Maximise the expected value of the actions, and their entropy.

    For each image it is sum_b pi(b | x) values(x, b) + temperature *
    H(pi(. | x)), whose gradient is exact. The maximum is pi proportional to
    exp(values / temperature): actions that are one standard error worse than
    the best, where that is the temperature, keep 1 / e of its probability.
    L-BFGS finds it whatever the scale of the policy's parameters.

    Args:
        policy (nn.Module): Scores of the actions from raw images; changed.
        images (Tensor): Raw images, (N, V, 3, H, W), on any device.
        values (Tensor): (N, A).
        temperature (Tensor): Scalar.
    """
    device = next(policy.parameters()).device
    views = images.size(1)
    number = len(images) * views
    chosen = torch.linspace(0, number - 1, min(number, MOST_IMAGES)).long()
    shown = images.flatten(0, 1)[chosen].float().to(device)
    values = values - values.amax(1, keepdim=True)
    values = values[chosen.to(values.device) // views].to(device)

    for factor in COOLING:
        scaled = (values / (factor * temperature.to(device)).clamp(
            min=1e-9)).clamp(min=-1e4).float()
        optimizer = torch.optim.LBFGS(
            policy.parameters(), max_iter=ITERATIONS,
            line_search_fn='strong_wolfe')

        def loss(scaled: Tensor = scaled,
                 optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            log_prob = policy(shown).float().log_softmax(1)
            value = (log_prob.exp() * (log_prob - scaled)).sum(1).mean()
            value.backward()
            return value

        optimizer.step(loss)
        optimizer.zero_grad()
