"""How well a query finds what is relevant among candidates, and which candidates crowd the answers.

Letters: Q queries, C candidates, D features, N places of one query's ranking. Candidates that are
equally similar share their places: every figure is its expectation over all orders of theirs, as
McSherry and Najork (2008, "Computing information retrieval performance measures efficiently in the
presence of tied scores") compute it. So chance, the expectation over all orders, is what a
similarity that is the same everywhere gives.
"""

import numpy as np
import pandas as pd

NEAREST = 10  # candidates that a listener is shown
DECIMALS = 12  # of similarities: what differs by less is rounding of the sums
FIGURES = ("r_precision", "precision_at_10", "average_precision", "ndcg")


def cosine(x_QD: np.ndarray, x_CD: np.ndarray) -> np.ndarray:
    """Return cosine similarities `[Q,C]`, float64; 0 where all features are 0."""
    return (_normalised(x_QD) @ _normalised(x_CD).T).round(DECIMALS)


def _normalised(x_BD: np.ndarray) -> np.ndarray:
    x_BD = np.asarray(x_BD, np.float64)
    norm_B1 = np.linalg.norm(x_BD, axis=1, keepdims=True)
    return x_BD / np.where(norm_B1 > 0, norm_B1, 1)


def figures(
    similarity_QC: np.ndarray, relevant_QC: np.ndarray, candidate_QC: np.ndarray
) -> pd.DataFrame:
    """Return `FIGURES` of each query, a row each; NaN for one without a relevant candidate.

    `relevant` and `candidate` are booleans: whatever is no candidate of a query is out of its
    ranking. All lie in 0..1:

    - r_precision: share of relevant ones among the first R, the number of relevant candidates;
    - precision_at_10: among the first ten, or among all where there are fewer;
    - average_precision: mean over the relevant ones of the precision down to each;
    - ndcg: over the whole ranking; gain 1, discount log2 (Järvelin and Kekäläinen 2002).
    """
    rows = zip(similarity_QC, relevant_QC, candidate_QC, strict=True)
    values = [_figures(s_C[among_C], r_C[among_C]) for s_C, r_C, among_C in rows]
    return pd.DataFrame(np.reshape(values, (-1, len(FIGURES))), columns=list(FIGURES))


def _figures(similarity_N: np.ndarray, relevant_N: np.ndarray) -> tuple[float, ...]:
    num_relevant = int(relevant_N.sum())
    if num_relevant == 0:
        return (np.nan,) * len(FIGURES)
    hit_N, precision_N = _places(similarity_N, relevant_N)
    discount_N = 1 / np.log2(np.arange(len(hit_N)) + 2)
    return (
        hit_N[:num_relevant].mean(),
        hit_N[:NEAREST].mean(),
        (hit_N * precision_N).sum() / num_relevant,
        (hit_N * discount_N).sum() / discount_N[:num_relevant].sum(),
    )


def _places(similarity_N: np.ndarray, relevant_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each place, first to last, the probability that a relevant candidate is there,
    and the precision down to there that is to be expected if so.

    Of t tied candidates r are relevant. If one of these is at the j-th of their places, so are
    (j-1)(r-1)/(t-1) of the others before it, on average.
    """
    group_N = np.unique(-similarity_N, return_inverse=True)[1]  # 0: the most similar
    size_G, hits_G = np.bincount(group_N), np.bincount(group_N, weights=relevant_N)
    place_N = np.arange(len(group_N))
    group_N = np.repeat(np.arange(len(size_G)), size_G)
    size_N, hits_N = size_G[group_N], hits_G[group_N]
    before_N = (hits_G.cumsum() - hits_G)[group_N]
    within_N = place_N - (size_G.cumsum() - size_G)[group_N]
    tied_N = within_N * (hits_N - 1) / np.maximum(size_N - 1, 1)
    return hits_N / size_N, (before_N + 1 + tied_N) / (place_N + 1)


def nearest(
    similarity_QC: np.ndarray, candidate_QC: np.ndarray, number: int = NEAREST
) -> np.ndarray:
    """Return the probability that each candidate is among the so many nearest of each query, or
    among all where there are fewer, float64 `[Q,C]`: 1 or 0 but for ties at the end of them."""
    near_QC = np.zeros(similarity_QC.shape)
    for near_C, similarity_C, among_C in zip(near_QC, similarity_QC, candidate_QC, strict=True):
        similarity_N = similarity_C[among_C]
        last = min(number, len(similarity_N))
        if last:
            least = -np.partition(-similarity_N, last - 1)[last - 1]
            above_N, tied_N = similarity_N > least, similarity_N == least
            near_C[among_C] = above_N + tied_N * (last - above_N.sum()) / tied_N.sum()
    return near_QC


def hubness(near_QC: np.ndarray) -> tuple[float, float]:
    """Return the skewness of the number of queries that each candidate is near to (Radovanović et
    al. 2010, "Hubs in space"; above 1: a few are near to everything), and the share of candidates
    that are near to none (orphans).

    Where `near` is a probability: skewness of the moments, and share, to be expected; moments are
    exact, as every query has the same number of near ones in any case. NaN if all are equal.
    """
    mean_C = near_QC.sum(0)
    variance_QC = near_QC * (1 - near_QC)
    apart_C, variance_C = mean_C - mean_C.mean(), variance_QC.sum(0)
    third_C = (variance_QC * (1 - 2 * near_QC)).sum(0) + 3 * apart_C * variance_C + apart_C**3
    second = (variance_C + apart_C**2).mean()
    skewness = third_C.mean() / second**1.5 if second > 1e-12 else np.nan
    return float(skewness), float((1 - near_QC).prod(0).mean())
