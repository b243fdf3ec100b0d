"""Ridge regression, and what it says of what it was not fitted to."""
from typing import Optional, Sequence, Tuple

import torch
from torch import Tensor


def ridge_residuals(x: Tensor,
                    y: Tensor,
                    ridges: Sequence[float],
                    mask: Optional[Tensor] = None,
                    held_out: bool = True) -> Tensor:
    """Errors of ridge regressions, each group's of the fit to all others.

    Leaving a group out takes no fit of its own: with e the residuals and H
    the hat matrix of the fit to all, intercept included, the residuals of the
    fit without group g are (I - H)_gg^-1 e_g.

    The intercept is not penalised: features and targets are centred. The
    weight of the squared coefficients is a ridge times the sum of the
    features' squares, so that it means the same for every teacher, tap and
    number of rows. It stays what it is where a group is left out.

    Args:
        x (Tensor): Features of G groups (images) of P rows (their views and
            positions), (G, P, C).
        y (Tensor): Targets, (G, P, K).
        ridges (Sequence[float]): R penalties, above 0.
        mask (Tensor, optional): Bool, (G, P): the rows that have a target.
            Defaults to None: all of them.
        held_out (bool): Whether a group is left out of the fit that predicts
            it. Defaults to True.

    Returns:
        Tensor: Targets minus predictions, float64, (R, G, P, K); 0 where
        there is no target.

    Source: Allen, "The Relationship between Variable Selection and Data
    Augmentation and a Method for Prediction", Technometrics 1974; for groups,
    Zhang, "Model Selection via Multifold Cross Validation", Annals of
    Statistics 1993.
    """
    mask = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None \
        else mask
    # float64, which autocast leaves alone; weighted sums and not masked
    # indexing, which a GPU would have to be waited for
    present = mask.double()
    x, y = (_centred(rows.double(), present)[0] for rows in (x, y))
    flat = x.flatten(0, 1)
    wide = len(flat) <= flat.size(1)
    gram = flat @ flat.T if wide else flat.T @ flat  # the smaller one
    errors = []
    for ridge in ridges:
        weight = _weight(flat, ridge)
        factor = _factor(gram, weight)
        if wide:
            complement = weight * torch.cholesky_solve(
                torch.eye(len(flat), dtype=flat.dtype, device=flat.device),
                factor)
            error = (complement @ y.flatten(0, 1)).view_as(y)
        else:
            half = torch.cholesky_solve(flat.T.contiguous(), factor).T
            error = y - x @ (half.T @ y.flatten(0, 1))
        if held_out:
            blocks = _diagonal_blocks(complement, x.shape) if wide else \
                torch.eye(x.size(1), dtype=x.dtype, device=x.device) - \
                x @ half.view_as(x).transpose(1, 2)
            error = _solve(blocks - present[:, :, None] * present[:, None] /
                           present.sum().clamp(min=1), error)
        errors.append(error)
    return torch.stack(errors)


def ridge_fit(x: Tensor, y: Tensor, ridge: float,
              mask: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
    """The same regression, to predict others by.

    Args:
        x (Tensor): As of :func:`ridge_residuals`, (G, P, C).
        y (Tensor): (G, P, K).
        ridge (float): Above 0.
        mask (Tensor, optional): Bool, (G, P).

    Returns:
        tuple: Coefficients (C, K) and intercepts (K,), in float64.
    """
    mask = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None \
        else mask
    (x, x_mean), (y, y_mean) = (_centred(rows.double(), mask.double())
                                for rows in (x, y))
    flat, target = x.flatten(0, 1), y.flatten(0, 1)
    weight = _weight(flat, ridge)
    if len(flat) <= flat.size(1):
        coefficients = flat.T @ torch.cholesky_solve(
            target, _factor(flat @ flat.T, weight))
    else:
        coefficients = torch.cholesky_solve(
            flat.T @ target, _factor(flat.T @ flat, weight))
    return coefficients, y_mean - x_mean @ coefficients


def _diagonal_blocks(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """A matrix over all rows, (G P, G P), within each group: (G, P, P)."""
    groups, size = shape[:2]
    return matrix.view(groups, size, groups, size).diagonal(
        dim1=0, dim2=2).permute(2, 0, 1)


def _solve(blocks: Tensor, errors: Tensor) -> Tensor:
    """blocks^-1 errors, group by group."""
    if errors.size(1) == 1:  # a single labelled row has none but itself
        return errors / blocks.clamp(min=1e-12)
    return torch.linalg.solve(blocks, errors)


def _weight(x: Tensor, ridge: float) -> Tensor:
    return ridge * x.square().sum().clamp(min=1e-30)


def _factor(gram: Tensor, weight: Tensor) -> Tensor:
    """Cholesky factor of a Gram matrix plus the penalty."""
    penalised = gram.clone()
    penalised.diagonal().add_(weight)
    return torch.linalg.cholesky_ex(penalised)[0]


def _centred(rows: Tensor, present: Tensor) -> Tuple[Tensor, Tensor]:
    """Minus the mean of the rows that are there, zero in all others."""
    weight = present[..., None]
    mean = (rows * weight).sum((0, 1)) / weight.sum().clamp(min=1)
    return (rows - mean) * weight, mean
