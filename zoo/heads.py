"""Heads on the embeddings of a frozen model: linear ones, fitted in seconds, and `Nearest`.

M examples (chunks) of D features and K classes; an example's weight is its share of the whole, so
that each track counts once.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

TEMPERATURE = 0.07  # of the votes of neighbours, by cosine similarity (Wu et al. 2018)
LEAST_DEVIATION = 1e-4  # over the mean's size; what varies less is rounding of float32
MOST_STEPS = 500  # of L-BFGS, for each strength


class Nearest(nn.Module):
    """Embeddings `[B,D]` to the votes of the most similar examples, as logits `[B,K]`.

    The J neighbours vote by exp(cosine similarity / 0.07), as in Wu et al. 2018, Unsupervised
    feature learning via non-parametric instance discrimination. One more vote goes to all classes
    by their shares of the examples, so that none is impossible.
    """

    examples: Tensor  # [M,D], of unit length
    targets: Tensor  # [M,K], zeros and ones

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        multilabel: bool,
        neighbours: int,
        num_examples: int,
    ) -> None:
        """The examples themselves are loaded, like weights."""
        super().__init__()
        self.multilabel, self.neighbours = multilabel, min(neighbours, num_examples)
        self.register_buffer("examples", torch.zeros(num_examples, num_features))
        self.register_buffer("targets", torch.zeros(num_examples, num_classes))

    @classmethod
    def of(cls, x_MD: Tensor, target_MK: Tensor, multilabel: bool, neighbours: int) -> Self:
        """Return the head of these examples."""
        num_examples, num_features = x_MD.shape
        head = cls(num_features, target_MK.shape[1], multilabel, neighbours, num_examples)
        head.load_state_dict({"examples": functional.normalize(x_MD), "targets": target_MK})
        return head

    @property
    def sizes(self) -> dict[str, int]:
        """What of its arguments a model's config keeps."""
        return {"neighbours": self.neighbours, "num_examples": len(self.examples)}

    def forward(self, x_BD: Tensor) -> Tensor:
        similarity_BM = functional.normalize(x_BD) @ self.examples.T
        similarity_BJ, nearest_BJ = similarity_BM.topk(self.neighbours)
        votes_BJ = (similarity_BJ / TEMPERATURE).softmax(-1) * self.neighbours
        votes_BK = torch.einsum("bj,bjk->bk", votes_BJ, self.targets[nearest_BJ])
        share_K = (self.targets.sum(0) + 1) / (len(self.targets) + 2)
        probability_BK = (votes_BK + share_K) / (self.neighbours + 1)
        return probability_BK.logit() if self.multilabel else probability_BK.log()


@dataclass(frozen=True)
class Standard:
    """Features with mean 0 and deviation 1; those that do not vary are 0."""

    mean: Tensor  # [D]
    scale: Tensor  # [D], 1 / deviation

    @classmethod
    def of(cls, x_MD: Tensor, weight_M: Tensor) -> Self:
        """Return the standard of examples."""
        mean_D = weight_M @ x_MD
        deviation_D = (weight_M @ (x_MD - mean_D) ** 2).sqrt()
        varies_D = deviation_D > LEAST_DEVIATION * mean_D.abs()
        return cls(mean_D, torch.where(varies_D, 1 / deviation_D, 0.0))

    def __call__(self, x_MD: Tensor) -> Tensor:
        return (x_MD - self.mean) * self.scale

    def layer(self, weight_KD: Tensor, bias_K: Tensor) -> nn.Linear:
        """Return a layer for features as they are from one for standardised ones."""
        weight_KD = weight_KD * self.scale
        layer = nn.Linear(weight_KD.shape[1], len(weight_KD))
        state = {"weight": weight_KD, "bias": bias_K - weight_KD @ self.mean}
        layer.load_state_dict(state)
        return layer


Loss = Callable[[Tensor], Tensor]
"""From logits `[M,K]` of the examples to their losses `[M]`."""


def regressions(
    x_MD: Tensor, weight_M: Tensor, num_classes: int, losses: Loss, strengths: Iterable[float]
) -> Iterator[nn.Linear]:
    """Yield a logistic regression on standardised features for each strength s: what minimises
    the mean loss + s/2 |weights|^2 (scikit-learn's C is 1 / (s M)), by L-BFGS in float64.

    Each starts from the one before, so the stronger ones had better come first.
    """
    x_MD, weight_M = x_MD.double(), weight_M.double()
    standard = Standard.of(x_MD, weight_M)
    z_MD = standard(x_MD)
    head = nn.Linear(x_MD.shape[1], num_classes, dtype=torch.float64)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    for strength in strengths:
        _minimise(head, strength, lambda: weight_M @ losses(head(z_MD)))
        fitted = copy.deepcopy(head).requires_grad_(False)
        yield standard.layer(fitted.weight, fitted.bias)


def _minimise(head: nn.Linear, strength: float, loss: Callable[[], Tensor]) -> None:
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=MOST_STEPS,
        tolerance_grad=1e-5,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        optimizer.zero_grad()
        total = loss() + strength / 2 * (head.weight**2).sum()
        total.backward()
        return total.item()

    optimizer.step(closure)


def prototypes(
    x_MD: Tensor, weight_M: Tensor, target_MK: Tensor, scales: Iterable[float]
) -> Iterator[nn.Linear]:
    """Yield, for each scale, a layer whose logits are minus the squared distances of standardised
    features to the mean of each class, times scale / D, up to what the classes have in common.

    Snell, Swersky, Zemel 2017, Prototypical networks for few-shot learning. Each class must have an
    example.
    """
    x_MD, weight_M = x_MD.double(), weight_M.double()
    standard = Standard.of(x_MD, weight_M)
    weight_MK = target_MK.double() * weight_M[:, None]
    mean_KD = (weight_MK / weight_MK.sum(0)).T @ standard(x_MD)
    for scale in scales:
        step = scale / x_MD.shape[1]
        yield standard.layer(2 * step * mean_KD, -step * (mean_KD**2).sum(1))
