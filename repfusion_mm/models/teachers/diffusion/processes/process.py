"""What all forward processes are asked."""
from typing import Tuple

from torch import Tensor


class ForwardProcess:
    """Noises what a denoiser looks at, x(t) = a(t) x + s(t) noise.

    Time means the same in all families: t is a whole number from 0 to
    ``num_timesteps`` - 1, and the signal-to-noise ratio falls as t grows.

    Attributes:
        num_timesteps (int): Number of time steps.
    """
    num_timesteps: int

    def coefficients(self, timesteps: Tensor) -> Tuple[Tensor, Tensor]:
        """Factors of the image and of the noise.

        Args:
            timesteps (Tensor): Long, (N,).

        Returns:
            tuple[Tensor, Tensor]: a(t) and s(t), float64, (N,). The
            signal-to-noise ratio is their quotient's square, for data of
            variance 1.
        """
        raise NotImplementedError

    def told(self, timesteps: Tensor) -> Tensor:
        """The time as the denoiser takes it.

        Args:
            timesteps (Tensor): Long, (N,).

        Returns:
            Tensor: (N,).
        """
        raise NotImplementedError

    def add_noise(self, clean: Tensor, noise: Tensor,
                  timesteps: Tensor) -> Tensor:
        """Noise of the level of t.

        Args:
            clean (Tensor): Images or latents, (N, ...).
            noise (Tensor): Standard normal, alike.
            timesteps (Tensor): Long, (N,).

        Returns:
            Tensor: x(t), alike.
        """
        raise NotImplementedError

    def scaled(self, inputs: Tensor, timesteps: Tensor) -> Tensor:
        """What the denoiser is given for x(t).

        Args:
            inputs (Tensor): x(t), or x itself, (N, ...).
            timesteps (Tensor): Long, (N,).

        Returns:
            Tensor: Alike: they themselves, but in EDM's parameterisation.
        """
        return inputs


def of_images(values: Tensor, images: Tensor) -> Tensor:
    """One number for each image, as a factor of images.

    Args:
        values (Tensor): (N,).
        images (Tensor): (N, ...).

    Returns:
        Tensor: (N, 1, ...), of their type and device.
    """
    return values.to(images).reshape(-1, *[1] * (images.dim() - 1))
