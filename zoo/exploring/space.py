"""Where tracks lie among each other: a map, outliers, and labels that do not fit the sound.

All are hints: features say something of the sound, and little of the music.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from zoo.datasets.base import labels_of, units_of

SEED = 0
NEIGHBOURS = 5  # whose mean distance makes an outlier
FOLDS = 5
LEAST = 2  # tracks of a class, for a classifier
MOST_TAGS = 50  # that classifiers are made for, the most frequent ones
PERPLEXITY = 30.0
LEAST_MAPPED = 5
MOST_MAPPED = 5000  # tracks: t-SNE takes half a minute for so many


def standardized(features_BD: np.ndarray) -> np.ndarray:
    """Return features with zero mean and unit variance each; what is constant is zero."""
    return StandardScaler().fit_transform(features_BD.astype(np.float64))


def tsne(features_BD: np.ndarray) -> np.ndarray:
    """Return places on a map `[B,2]`: t-SNE (van der Maaten and Hinton 2008) of the standardized
    features, from their principal components on, the same each time."""
    z_BD = standardized(features_BD)
    if z_BD.shape[1] > 50:
        z_BD = PCA(min(50, *z_BD.shape), random_state=SEED).fit_transform(z_BD)
    perplexity = min(PERPLEXITY, (len(z_BD) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=SEED).fit_transform(z_BD)


def remoteness(features_BD: np.ndarray) -> np.ndarray:
    """Return each track's mean distance to its 5 nearest neighbours, in standardized features, as
    a multiple of the median track's `[B]`."""
    z_BD = standardized(features_BD)
    count = min(NEIGHBOURS, len(z_BD) - 1)
    if count < 1:
        return np.ones(len(z_BD))
    distance_B = NearestNeighbors(n_neighbors=count).fit(z_BD).kneighbors()[0].mean(1)
    return distance_B / max(np.median(distance_B), 1e-12)


@dataclass(frozen=True)
class Doubts:
    """How much speaks for given labels, by classifiers that have not heard the track."""

    table: pd.DataFrame  # row, given, probability, looks_like; the least probable first
    accuracy: float | None  # share of tracks whose label is found (balanced); None: several labels
    keeps_units: bool  # whether no artist was in training and test


def doubts(tracks: pd.DataFrame, features_BD: np.ndarray, multilabel: bool) -> Doubts | None:
    """Return the out-of-fold probability of each given label by logistic regression; artists and
    groups are kept together where that leaves each class in training. None where the tracks or
    classes are too few."""
    labels = labels_of(tracks)
    if multilabel:
        return _of_tags(tracks, features_BD, labels)
    counts = labels.value_counts()
    rows = np.flatnonzero(tracks["label"].isin(counts.index[counts >= LEAST]))
    given = tracks["label"].to_numpy()[rows]
    classes, target = np.unique(given, return_inverse=True)
    if len(classes) < 2:
        return None
    folds, keeps = _folds(target, units_of(tracks).to_numpy()[rows])
    prob_BK = _out_of_fold(features_BD[rows], target, folds)
    right = prob_BK.argmax(1) == target
    table = pd.DataFrame(
        {
            "row": rows,
            "given": given,
            "probability": prob_BK[np.arange(len(rows)), target],
            "looks_like": classes[prob_BK.argmax(1)],
        }
    )
    recall = pd.Series(right).groupby(target).mean()
    return Doubts(_least(table), float(recall.mean()), keeps)


def _of_tags(tracks: pd.DataFrame, features_BD: np.ndarray, labels: pd.Series) -> Doubts | None:
    """Return the same for tracks with several labels: a classifier for each tag."""
    counts = labels.value_counts()
    most = len(tracks) - LEAST
    names = counts.index[(counts >= FOLDS) & (counts <= most)][:MOST_TAGS].to_numpy()
    if not len(names):
        return None
    units = units_of(tracks).to_numpy()
    target_BK = np.stack([tracks.index.isin(labels.index[labels == name]) for name in names], 1)
    prob_BK, keeps = np.zeros(target_BK.shape), True
    for k, target_B in enumerate(target_BK.T.astype(int)):
        folds, kept = _folds(target_B, units)
        prob_BK[:, k] = _out_of_fold(features_BD, target_B, folds)[:, 1]
        keeps &= kept
    row, column = np.nonzero(target_BK)
    others_BK = np.where(target_BK, -1.0, prob_BK)
    table = pd.DataFrame(
        {
            "row": row,
            "given": names[column],
            "probability": prob_BK[row, column],
            "looks_like": np.where((others_BK.max(1) > 0.5), names[others_BK.argmax(1)], "")[row],
        }
    )
    return Doubts(_least(table), None, keeps)


def _least(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values("probability", kind="stable", ignore_index=True)


def classifier() -> Pipeline:
    """Return a logistic regression on standardized features."""
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced")
    )


Folds = list[tuple[np.ndarray, np.ndarray]]
"""Rows to train on and rows to test, for each fold."""


def _folds(target_B: np.ndarray, units_B: np.ndarray) -> tuple[Folds, bool]:
    """Return the folds, and whether units are kept together."""
    count = int(np.clip(np.bincount(target_B).min(), 2, FOLDS))
    kept = StratifiedGroupKFold(count, shuffle=True, random_state=SEED)
    apart = StratifiedKFold(count, shuffle=True, random_state=SEED)
    if len(np.unique(units_B)) >= count:
        folds = list(kept.split(target_B, target_B, units_B))
        num_classes = len(np.unique(target_B))
        if all(len(np.unique(target_B[train])) == num_classes for train, _ in folds):
            return [fold for fold in folds if len(fold[1])], True
    return list(apart.split(target_B, target_B)), False


def _out_of_fold(features_BD: np.ndarray, target_B: np.ndarray, folds: Folds) -> np.ndarray:
    """Return the probabilities of classes by models that were not fitted to the track `[B,K]`."""
    prob_BK = np.zeros((len(target_B), int(target_B.max()) + 1))
    for train, test in folds:
        model = classifier().fit(features_BD[train], target_B[train])
        prob_BK[test] = model.predict_proba(features_BD[test])
    return prob_BK


def separability(a_AD: np.ndarray, b_BD: np.ndarray, units: np.ndarray) -> float:
    """Return how well a classifier tells two sets of tracks apart that it was not fitted to: the
    area under the ROC curve, 0.5 alike, 1 different. Tracks of one unit (such as the same audio in
    both sets) are never in training and test; `units` are of the first set and then the second."""
    target = np.repeat([0, 1], [len(a_AD), len(b_BD)])
    folds, _ = _folds(target, units)
    prob_BK = _out_of_fold(np.concatenate([a_AD, b_BD]), target, folds)
    return float(roc_auc_score(target, prob_BK[:, 1]))
