"""Augmentation, loss, learning rate and averaged weights against what they claim."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional

from zoo.augment import Augment, bands, mix, shift
from zoo.config import compose
from zoo.errors import InputError
from zoo.recipe import (
    Average,
    Phase,
    class_weights,
    learning_rate,
    loss_function,
    make_optimizer,
    read_phases,
)
from zoo.step import Step


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_nothing_is_nothing() -> None:
    x, target, spectrogram = torch.randn(4, 100), torch.eye(4), torch.randn(4, 1, 8, 20)
    nothing = Augment()
    changed, labels = nothing.waveform(x, target)
    assert changed is x and labels is target
    assert torch.equal(nothing.spectrogram(spectrogram), spectrogram)


def test_shift_goes_around() -> None:
    x = torch.arange(50.0).repeat(200, 1)
    shifted = shift(x, 0.5)
    assert torch.equal(shifted.sort(dim=1).values, x)
    offsets = (50 - shifted[:, 0]) % 50
    assert offsets.max() < 25 and len(offsets.unique()) > 15


def test_gain_stays_in_its_range() -> None:
    x, _ = Augment(gain_db=6.0).waveform(torch.ones(500, 2), torch.zeros(500, 2))
    db = 20 * x[:, 0].log10()
    assert -6 <= db.min() < -5 and 5 < db.max() <= 6
    assert torch.equal(x[:, 0], x[:, 1])


def test_mixup_mixes_targets_as_it_mixes_sounds() -> None:
    x = torch.eye(64)
    mixed, target = mix(x, torch.eye(64), alpha=0.4)
    torch.testing.assert_close(mixed, target)  # the same shares
    torch.testing.assert_close(target.sum(1), torch.ones(64))
    assert (target.diagonal() >= 0.5).all() and (target.diagonal() < 0.999).any()


def test_masks_hide_at_most_their_share() -> None:
    hidden = bands(1000, 100, 2, 0.1, torch.device("cpu"))
    assert hidden.sum(1).max() <= 2 * 0.1 * 100 + 2 and hidden.sum(1).float().mean() > 6
    x = torch.randn(8, 2, 50, 80)
    y = Augment(time_masks=2, time_mask=0.2, freq_masks=1, freq_mask=0.2).spectrogram(x)
    changed = y != x
    assert changed.any() and torch.equal(changed[:, 0], changed[:, 1])
    filled = x.mean((2, 3), keepdim=True).expand_as(x)
    torch.testing.assert_close(y[changed], filled[changed])


def test_single_label_loss_equals_the_formula() -> None:
    logits, classes = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 0])
    weights = class_weights(classes.numpy(), 4)
    ours = loss_function(logits, functional.one_hot(classes, 4).float(), False, 0.0, weights)
    losses = -logits.log_softmax(1)[range(6), classes] * weights[classes]
    torch.testing.assert_close(ours, losses.mean())
    torch.testing.assert_close(weights, torch.tensor([6 / 12, 6 / 4, 6 / 4, 6 / 4]))
    smooth = loss_function(logits, functional.one_hot(classes, 4).float(), False, 0.1, None)
    expected = functional.cross_entropy(logits, classes, label_smoothing=0.1)
    torch.testing.assert_close(smooth, expected)


def test_tag_loss_equals_the_formula() -> None:
    logits, tags = torch.randn(6, 4), torch.randint(2, (6, 4)).float()
    p = logits.sigmoid()
    expected = -(tags * p.log() + (1 - tags) * (1 - p).log()).mean()
    torch.testing.assert_close(loss_function(logits, tags, True, 0.0, None), expected)
    weights = class_weights(np.array([[1, 0], [1, 1], [0, 0], [1, 0]]), 2)
    torch.testing.assert_close(weights, torch.tensor([1 / 3, 3.0]))


ADAMW = Phase("adamw", lr=2.0, weight_decay=0.5, warmup=0.1, decay="cosine")


def test_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(step, 100, ADAMW) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[10] == 2.0
    assert rates[55] == pytest.approx(1 + math.cos(math.pi / 2)) and rates[-1] < 0.001
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    constant = replace(ADAMW, decay="none", warmup=0.0)
    assert {learning_rate(step, 100, constant) for step in range(100)} == {2.0}


def test_only_matrices_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    decayed, kept = make_optimizer([(model.parameters(), 1.0)], ADAMW).param_groups
    assert decayed["weight_decay"] == 0.5 and kept["weight_decay"] == 0.0
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in kept["params"]} == {1}
    assert len(decayed["params"] + kept["params"]) == len(list(model.parameters()))


def test_the_published_optimisers_decay_all() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    phases = read_phases(compose("train", ["recipe=published"]).optimizer)
    assert [(p.epoch, p.name, p.lr) for p in phases] == [
        (0, "adam", 1e-4),
        (80, "sgd", 1e-3),
        (100, "sgd", 1e-4),
        (120, "sgd", 1e-5),
    ]
    for phase, kind in ((phases[0], torch.optim.Adam), (phases[1], torch.optim.SGD)):
        optimizer = make_optimizer([(model.parameters(), 1.0)], phase)
        assert type(optimizer) is kind and len(optimizer.param_groups) == 1
        group = optimizer.param_groups[0]
        assert group["lr"] == phase.lr and group["weight_decay"] == 1e-4
        assert len(group["params"]) == len(list(model.parameters()))
    assert group["nesterov"] and group["momentum"] == 0.9


@pytest.mark.parametrize(
    ("phases", "sentence"),
    [
        ("[{epoch: 3, lrr: 0.1}]", r"phases\[0\] takes no 'lrr'; did you mean lr\?"),
        ("[{epoch: 3, name: sdg}]", r"name=sdg must be one of adamw, adam, sgd"),
        ("[{epoch: 3}, {epoch: 2}]", r"phases\[1\].epoch=2 must be after 3"),
        ("[{lr: 0.1}]", r"phases\[0\].epoch=0 must be after 0"),
        ("[3]", r"phases\[0\]=3 must be a mapping"),
        ("[{epoch: -3}]", r"phases\[0\].epoch=-3 must be a whole number of at least 0"),
        ("[{epoch: 3, lr: fast}]", r"phases\[0\].lr=fast must be a number of at least 0"),
    ],
)
def test_wrong_phases_are_refused(phases: str, sentence: str) -> None:
    config = compose("train", [f"optimizer.phases={phases}"])
    with pytest.raises(InputError, match=sentence):
        read_phases(config.optimizer)


@pytest.mark.parametrize(("batch", "micro"), [(8, 8), (8, 3), (7, 3), (3, 2), (2, 1), (16, 5)])
def test_pieces_of_a_batch_are_two_clips_at_least(batch: int, micro: int) -> None:
    config = compose("train", [f"batch_size={batch}", f"micro_batch_size={max(2, micro)}"])
    step = Step(config, Accelerator(cpu=True), None)
    step.micro_batch = micro
    sizes = [piece.stop - piece.start for piece in step._pieces(batch)]
    assert sum(sizes) == batch and min(sizes) >= 2
    assert max(sizes) <= max(micro, 3) and max(sizes) - min(sizes) <= 1


def test_average_follows_its_recurrence() -> None:
    model = nn.BatchNorm1d(1)
    average = Average(model, decay=0.5)
    expected = None
    for step in range(30):
        with torch.no_grad():
            model.weight.fill_(float(step))
            model.running_mean.fill_(float(-step))
        average.update(model)
        share = min(0.5, step / (9 + step))
        expected = float(step) if expected is None else share * expected + (1 - share) * step
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
        assert average.module.running_mean.item() == pytest.approx(-expected, rel=1e-5)
