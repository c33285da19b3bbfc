import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from ser_transfer.heads import (
    SEQUENCE_GRID,
    SEQUENCE_HEADS,
    HeadError,
    choose_sequence_settings,
    load_sequence_head,
    make_sequence_head,
)
from ser_transfer.heads.sequence.frames import Standardiser, balanced_rows, batches_by_length, collate
from ser_transfer.heads.sequence.losses import FocalLoss, class_weights
from ser_transfer.heads.sequence.masks import Masks
from ser_transfer.heads.sequence.search import draw_settings
from ser_transfer.heads.sequence.training import TrainingSettings, few_threads, train

EMOTIONS = np.array(["anger", "happiness", "sadness"])
# Small and quick to learn; the convolutions have one size.
FAST = {
    "mean_mlp": {"hidden_units": (16,), "learning_rate": 0.01, "max_epochs": 15},
    "attentive": {
        "hidden_units": (16,),
        "attention_units": 8,
        "learning_rate": 0.01,
        "max_epochs": 15,
    },
    "lstm": {"units": (12, 8), "hidden_units": (8,), "dropout": 0.1, "learning_rate": 0.02, "max_epochs": 10},
    "cnn": {"hidden_units": (16,), "n_frames": 16, "max_epochs": 3},
}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    before = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def head_of(name, **arguments):
    return make_sequence_head(name, **{"batch_size": 16} | FAST[name] | arguments)


def data(n=60, n_features=5, seed=0):
    """Sequences of 4 to 23 frames whose mean tells the emotion, features of very different scales."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    means = np.random.default_rng(99).normal(0, 1.5, (3, n_features))
    scales = np.logspace(-2, 1, n_features)
    sequences = [
        (rng.normal(means[code], 1.0, (rng.integers(4, 24), n_features)) * scales + 3.0).astype(np.float16)
        for code in codes
    ]
    return sequences, EMOTIONS[codes]


def ordered_data(n=64, seed=0):
    """Two kinds of sequence with the same set of frames: it rises first and falls then, or the reverse."""
    rng = np.random.default_rng(seed)
    sequences, labels = [], []
    for row in range(n):
        half = rng.normal(0, 0.5, (rng.integers(5, 9), 3))
        high, low = half + np.array([2.0, 0, 0]), half - np.array([2.0, 0, 0])
        sequences.append(np.concatenate([low, high] if row % 2 else [high, low]).astype(np.float32))
        labels.append("rising" if row % 2 else "falling")
    return sequences, np.array(labels)


@pytest.fixture(scope="module")
def fitted():
    """Every head, fitted once."""
    torch.set_num_threads(1)
    return {name: head_of(name).fit(*data(), validation=data(30, seed=1)) for name in SEQUENCE_HEADS}


@pytest.mark.parametrize("name", SEQUENCE_HEADS)
class TestEveryHead:
    def test_it_learns_from_float16_and_names_its_columns(self, name, fitted):
        sequences, y = data(60, seed=2)
        probabilities = fitted[name].predict_proba(sequences)
        np.testing.assert_array_equal(fitted[name].classes_, EMOTIONS)
        assert probabilities.shape == (60, 3)
        assert probabilities.dtype == np.float64
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-9)
        np.testing.assert_array_equal(EMOTIONS[probabilities.argmax(axis=1)], fitted[name].predict(sequences))
        assert fitted[name].score(sequences, y) > 0.85

    def test_a_sequence_gets_the_same_answer_alone_and_among_longer_ones(self, name, fitted):
        sequences, _ = data(12, seed=3)
        longer = [np.random.default_rng(0).normal(3, 9, (200, 5)).astype(np.float32)]
        together = fitted[name].predict_proba(sequences + longer)[:12]
        alone = np.concatenate([fitted[name].predict_proba([sequence]) for sequence in sequences])
        np.testing.assert_allclose(together, alone, atol=1e-5)

    def test_the_same_seed_gives_the_same_weights_and_another_seed_others(self, name):
        sequences, y = data(24)
        settings = {"max_epochs": 1, "masks": {"n_time": 1, "time_width": 3}, "oversample": True}
        first = head_of(name, random_state=4, **settings).fit(sequences, y).state()
        torch.manual_seed(123)  # of no concern to a head with a seed of its own
        again = clone(head_of(name, random_state=4, **settings)).fit(sequences, y).state()
        other = head_of(name, random_state=5, **settings).fit(sequences, y).state()
        assert all(np.array_equal(first[key], again[key]) for key in first)
        weights = next(key for key in first if key.startswith("network.") and key.endswith("weight"))
        assert not np.array_equal(first[weights], other[weights])

    def test_it_leaves_torchs_generator_and_threads_as_they_were(self, name, tmp_path):
        torch.set_num_threads(7)
        before = torch.random.get_rng_state()
        head = head_of(name, max_epochs=1).fit(*data(12))
        head.predict_proba(data(3)[0])
        head.save(tmp_path)
        load_sequence_head(tmp_path)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert torch.get_num_threads() == 7

    def test_a_saved_head_answers_the_same_to_the_bit(self, name, fitted, tmp_path):
        sequences, _ = data(20, seed=3)
        fitted[name].save(tmp_path / "head")
        loaded = load_sequence_head(tmp_path / "head")
        np.testing.assert_array_equal(loaded.predict_proba(sequences), fitted[name].predict_proba(sequences))
        assert loaded.get_params() == fitted[name].get_params()
        assert loaded.history_ == fitted[name].history_
        assert loaded.best_epoch_ == fitted[name].best_epoch_

    def test_a_number_that_is_none_is_refused_by_its_place(self, name, fitted):
        sequences, y = data(12)
        sequences[3][1, 2] = np.nan
        for attempt in (lambda: fitted[name].predict(sequences), lambda: head_of(name).fit(sequences, y)):
            with pytest.raises(HeadError, match="feature 2 of frame 1 of sequence 3 is nan"):
                attempt()

    def test_a_constant_feature_gives_finite_answers(self, name):
        sequences, y = data(24)
        almost = [1e6 / 3, 1e6 / 3 + 0.03]  # the nearest float32 above
        wide = [
            np.insert(sequence.astype(np.float32), 2, almost[n % 2], 1)
            for n, sequence in enumerate(sequences)
        ]
        head = head_of(name, max_epochs=1).fit(wide, y)
        changed = [sequence.copy() for sequence in wide]
        for sequence in changed:
            sequence[:, 2] = -5e5
        np.testing.assert_array_equal(head.predict_proba(wide), head.predict_proba(changed))

    def test_its_grid_names_settings_that_it_has(self, name):
        for settings in draw_settings(SEQUENCE_GRID):
            make_sequence_head(name, **settings)


class TestArchitectures:
    @pytest.mark.parametrize(
        ("name", "settings"),
        [("lstm", {}), ("lstm", {"bidirectional": True}), ("cnn", {"max_epochs": 4})],
        ids=["lstm", "bidirectional lstm", "cnn"],
    )
    def test_what_reads_the_order_of_frames_learns_it(self, name, settings):
        head = head_of(name, **settings).fit(*ordered_data(), validation=ordered_data(32, seed=1))
        assert head.score(*ordered_data(seed=2)) > 0.9

    @pytest.mark.parametrize("name", ["mean_mlp", "attentive"])
    def test_what_pools_frames_gives_no_answer_to_their_order(self, name, fitted):
        sequences, _ = data(12)
        reversed_sequences = [sequence[::-1] for sequence in sequences]
        np.testing.assert_allclose(
            fitted[name].predict_proba(sequences), fitted[name].predict_proba(reversed_sequences), atol=1e-5
        )

    def test_a_bidirectional_lstm_reads_both_ways_and_no_padding(self):
        sequences, y = data(24)
        head = head_of("lstm", bidirectional=True, max_epochs=2).fit(sequences, y)
        assert [layer.input_size for layer in head.network_.backwards] == [5, 2 * 12]
        assert head.network_.dense[0].in_features == 2 * 8
        together = head.predict_proba(sequences)
        alone = np.concatenate([head.predict_proba([sequence]) for sequence in sequences])
        np.testing.assert_allclose(together, alone, atol=1e-5)

    def test_a_bidirectional_lstm_is_torchs_on_packed_sequences(self):
        network = head_of("lstm", bidirectional=True, units=(6, 6)).build_network(5, 3).eval()
        plain = nn.LSTM(5, 6, num_layers=2, batch_first=True, bidirectional=True)
        weights = {}
        for layer in (0, 1):
            for ways, suffix in ((network.forwards, ""), (network.backwards, "_reverse")):
                for name, value in ways[layer].state_dict().items():
                    weights[name.replace("_l0", f"_l{layer}{suffix}")] = value
        plain.load_state_dict(weights)
        frames, n_frames = torch.randn(3, 9, 5), torch.tensor([4, 9, 1])
        packed = pack_padded_sequence(frames, n_frames, batch_first=True, enforce_sorted=False)
        end = plain(packed)[1][0][-2:].transpose(0, 1).flatten(1)
        torch.testing.assert_close(network(frames, n_frames), network.dense(end))

    def test_attentive_pooling_is_the_weighted_mean_and_deviation_of_valid_frames(self):
        network = head_of("attentive").build_network(5, 3).eval()
        frames = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
        pooled = []
        network.dense.register_forward_pre_hook(lambda _, given: pooled.append(given[0].detach().numpy()))
        network(torch.from_numpy(frames), torch.tensor([6, 4]))
        for row, n in enumerate((6, 4)):
            valid = frames[row, :n]
            scores = network.attention(torch.from_numpy(valid))[:, 0].detach().numpy()
            assert np.ptp(scores) > 0.1
            weights = np.exp(scores) / np.exp(scores).sum()
            mean = np.average(valid, axis=0, weights=weights)
            deviation = np.sqrt(np.average((valid - mean) ** 2, axis=0, weights=weights))
            np.testing.assert_allclose(pooled[0][row], np.concatenate([mean, deviation]), atol=1e-5)

    def test_the_cnn_has_the_seeds_2_8_million_parameters_and_reads_any_width(self):
        head = make_sequence_head("cnn")
        network = head.build_network(40, 6).eval()
        n_parameters = sum(weights.numel() for weights in network.parameters())
        assert 2.7e6 < n_parameters < 2.9e6
        for n_features in (1, 3, 70):
            assert network(torch.zeros(2, 100, n_features), torch.tensor([100, 3])).shape == (2, 6)

    def test_the_lstms_defaults_are_the_seeds(self):
        head = make_sequence_head("lstm")
        assert (head.units, head.dropout, head.weight_decay) == ((256, 128), 0.5, 0.01)
        network = head.build_network(40, 7)
        assert [(layer.input_size, layer.hidden_size) for layer in network.forwards] == [
            (40, 256),
            (256, 128),
        ]

    def test_a_network_without_hidden_units_is_a_linear_one(self):
        head = make_sequence_head("mean_mlp", hidden_units=())
        assert sum(weights.numel() for weights in head.build_network(4, 3).parameters()) == 4 * 3 + 3

    def test_a_longer_sequence_is_cropped_to_its_middle(self, fitted):
        sequence = data(1)[0][0].astype(np.float32)
        middle = np.resize(sequence, (16, 5))
        long = np.concatenate([np.full((10, 5), 9.0), middle, np.full((10, 5), -9.0)])
        np.testing.assert_array_equal(
            fitted["cnn"].predict_proba([long]), fitted["cnn"].predict_proba([middle])
        )


class Planted:
    """A network with one weight, and a validation that says what it is told."""

    def __init__(self, uars, losses=None):
        self.network = nn.Linear(1, 2)
        self.curve = list(zip(losses or [1.0] * len(uars), uars, strict=True))
        self.weights = []
        self.modes = []

    def __call__(self):
        self.modes.append(("validation", self.network.training))
        self.weights.append(self.network.weight.detach().clone())
        return self.curve[len(self.weights) - 1]

    def train(self, **settings):
        class Reader(nn.Module):
            def __init__(self, dense):
                super().__init__()
                self.dense = dense

            def forward(reader, frames, n_frames):  # noqa: N805
                self.modes.append(("training", reader.training))
                return reader.dense(frames.mean(dim=1))

        batch = (torch.randn(4, 3, 1), torch.full((4,), 3), torch.tensor([0, 1, 0, 1]))
        loss = nn.CrossEntropyLoss()
        validate = self if self.curve else None
        return train(Reader(self.network), lambda: [batch], loss, validate, TrainingSettings(**settings))


class TestTraining:
    def test_the_weights_of_the_best_epoch_are_restored(self):
        planted = Planted([0.2, 0.5, 0.4, 0.5, 0.3])
        history, best_epoch = planted.train(max_epochs=5, learning_rate=0.1)
        assert best_epoch == 2  # the first of equal ones
        assert torch.equal(planted.network.weight, planted.weights[1])
        assert not torch.equal(planted.weights[1], planted.weights[4])
        assert [line["validation_uar"] for line in history] == [0.2, 0.5, 0.4, 0.5, 0.3]

    def test_dropout_and_batch_norm_are_on_in_training_and_off_in_validation(self):
        planted = Planted([0.1, 0.2])
        planted.train(max_epochs=2)
        assert planted.modes == [("training", True), ("validation", False)] * 2
        assert not planted.network.training

    def test_it_stops_after_so_many_epochs_without_a_higher_uar(self):
        uars = [0.2, 0.3, 0.3, 0.4, 0.1, 0.4, 0.4, 0.9]
        history, best_epoch = Planted(uars).train(max_epochs=8, patience=3)
        assert (len(history), best_epoch) == (7, 4)
        history, best_epoch = Planted(uars).train(max_epochs=8, patience=None)
        assert (len(history), best_epoch) == (8, 8)

    def test_the_learning_rate_falls_where_the_validation_loss_stands_still(self):
        losses = [3.0, 2.0, 2.0, 2.0, 1.0, 1.0]
        planted = Planted([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], losses)
        history, _ = planted.train(max_epochs=6, learning_rate=0.1, plateau_patience=1, plateau_factor=0.5)
        rates = [line["learning_rate"] for line in history]
        np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
        history, _ = Planted([0.1] * 6, losses).train(max_epochs=6, learning_rate=0.1, plateau_patience=None)
        assert {line["learning_rate"] for line in history} == {0.1}

    def test_without_validation_it_trains_all_epochs_at_one_rate(self):
        history, best_epoch = Planted([]).train(max_epochs=12, patience=1, plateau_patience=1)
        assert (len(history), best_epoch) == (12, 12)
        assert {line["validation_uar"] for line in history} == {None}
        assert {line["learning_rate"] for line in history} == {1e-3}

    def test_slopes_are_clipped_to_their_norm(self):
        norms = {}
        for clip_norm in (None, 0.01):
            planted = Planted([])
            planted.train(max_epochs=1, clip_norm=clip_norm)
            slopes = [weights.grad.flatten() for weights in planted.network.parameters()]
            norms[clip_norm] = float(torch.cat(slopes).norm())
        assert norms[None] > 0.02
        assert norms[0.01] == pytest.approx(0.01, rel=1e-3)

    @pytest.mark.parametrize(("given", "used"), [(7, 4), (2, 2)])
    def test_it_uses_four_threads_at_most_and_gives_them_back(self, given, used):
        torch.set_num_threads(given)
        with few_threads():
            assert torch.get_num_threads() == used
        assert torch.get_num_threads() == given

    def test_weight_decay_draws_weights_towards_0(self):
        lengths = [
            float(
                head_of("mean_mlp", weight_decay=decay).fit(*data()).network_.dense[0].weight.detach().norm()
            )
            for decay in (0.0, 5.0)
        ]
        assert lengths[1] < 0.7 * lengths[0]

    @pytest.mark.parametrize("validation", [None, data(12, seed=1)], ids=["alone", "validated"])
    def test_a_training_that_diverges_is_named_with_what_to_do(self, validation):
        head = head_of("mean_mlp", learning_rate=1e20, hidden_units=(8, 8))
        with pytest.raises(
            HeadError, match=r"diverged in epoch \d+: .* lower learning_rate, which is 1e\+20"
        ):
            head.fit(*data(), validation=validation)

    def test_the_curve_tells_losses_uar_rate_and_time(self, fitted):
        for head in fitted.values():
            for number, line in enumerate(head.history_, 1):
                assert line["epoch"] == number
                assert line["train_loss"] > 0
                assert line["validation_loss"] > 0
                assert 0 <= line["validation_uar"] <= 1
                assert line["seconds"] > 0
            assert head.history_[-1]["train_loss"] < head.history_[0]["train_loss"]

    def test_the_train_loss_is_scikit_learns_log_loss_over_all_batches(self):
        sequences, y = data(31)  # batches of 6 and of 7
        head = head_of(
            "mean_mlp", batch_size=7, learning_rate=1e-9, max_epochs=1, dropout=0.0, class_weight=None
        ).fit(sequences, y)
        expected = log_loss(y, head.predict_proba(sequences))
        assert head.history_[0]["train_loss"] == pytest.approx(expected, rel=1e-4)

    def test_the_curves_best_epoch_is_what_the_head_scores(self, fitted):
        sequences, y = data(30, seed=1)  # ten of each class: accuracy is UAR
        for head in fitted.values():
            best = head.history_[head.best_epoch_ - 1]["validation_uar"]
            assert head.score(sequences, y) == pytest.approx(best)
            assert best == max(line["validation_uar"] for line in head.history_)

    def test_a_class_that_training_lacks_lowers_the_validation_uar_only(self):
        sequences, y = data(60)
        known = y != "sadness"
        head = head_of("mean_mlp").fit(
            [sequence for sequence, keep in zip(sequences, known, strict=True) if keep],
            y[known],
            validation=data(30, seed=1),
        )
        assert list(head.classes_) == ["anger", "happiness"]
        assert head.history_[head.best_epoch_ - 1]["validation_uar"] == pytest.approx(2 / 3, abs=0.05)
        assert np.isfinite(head.history_[-1]["validation_loss"])


class TestLoss:
    def test_gamma_0_is_torchs_cross_entropy(self):
        torch.manual_seed(0)
        logits, targets = torch.randn(20, 4), torch.arange(20) % 4
        for smoothing in (0.0, 0.2):
            ours = FocalLoss(0.0, smoothing, torch.ones(4))(logits, targets)
            plain = nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing)
            torch.testing.assert_close(ours, plain)

    def test_the_focal_loss_is_the_hand_worked_one(self):
        logits = torch.log(torch.tensor([[0.8, 0.2], [0.4, 0.6]]))
        ours = FocalLoss(2.0, 0.0, torch.tensor([1.0, 3.0]))(logits, torch.tensor([0, 1]))
        # 0.2² · 0.2231 = 0.008926 and 3 · 0.4² · 0.5108 = 0.245196
        assert float(ours) == pytest.approx((0.008926 + 0.245196) / 2, abs=1e-6)

    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
    def test_a_sequence_that_is_known_for_certain_has_a_finite_slope(self, gamma):
        logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
        FocalLoss(gamma, 0.0, torch.ones(2))(logits, torch.tensor([0])).backward()
        assert torch.isfinite(logits.grad).all()

    @pytest.mark.parametrize("class_weight", [None, "balanced", {"anger": 3.0, "joy": 0.5}])
    def test_class_weights_are_scikit_learns(self, class_weight):
        y = np.array(["joy"] * 7 + ["anger"] * 2)
        expected = compute_class_weight(class_weight, classes=np.array(["anger", "joy"]), y=y)
        np.testing.assert_allclose(class_weights(class_weight, y).numpy(), expected, rtol=1e-6)

    @pytest.mark.parametrize("remedy", [{"class_weight": "balanced"}, {"oversample": True}])
    def test_what_balances_raises_the_share_of_a_rare_class(self, remedy):
        sequences, y = data(90)
        weak = [sequence + np.float16(20) * np.random.default_rng(row).normal(size=5).astype(np.float16)
                for row, sequence in enumerate(sequences)]  # fmt: skip
        kept = [row for row in range(90) if y[row] != "anger" or row < 12]
        weak, y = [weak[row] for row in kept], y[kept]
        shares = [
            head_of("mean_mlp", **settings).fit(weak, y).predict_proba(weak)[:, 0].mean()
            for settings in ({"class_weight": None}, {"class_weight": None} | remedy)
        ]
        assert shares[1] > 1.5 * shares[0]

    def test_oversampling_and_balanced_weights_do_not_add_up(self):
        sequences, y = data(30)
        y[:20] = "anger"
        states = [
            head_of("mean_mlp", oversample=True, class_weight=weight, max_epochs=2).fit(sequences, y).state()
            for weight in (None, "balanced")
        ]
        assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])

    @pytest.mark.parametrize("settings", [{"loss": "focal"}, {"label_smoothing": 0.3}])
    def test_the_loss_that_is_asked_for_is_the_one_trained_on(self, settings):
        sequences, y = data(30)
        plain, asked = (
            head_of("mean_mlp", max_epochs=1, dropout=0.0, **changes)
            .fit(sequences, y)
            .history_[0]["train_loss"]
            for changes in ({}, settings)
        )
        assert (asked < 0.8 * plain) if "loss" in settings else (asked != plain)


class TestFrames:
    def test_features_are_standardised_over_training_frames_only(self, fitted):
        sequences, _ = data()
        plain = StandardScaler().fit(np.concatenate(sequences).astype(np.float64))
        for head in fitted.values():  # they were validated on other sequences
            np.testing.assert_allclose(head.standardiser_.mean, plain.mean_, rtol=1e-5)
            np.testing.assert_allclose(
                head.standardiser_.transform(sequences[0]),
                plain.transform(sequences[0].astype(np.float64)),
                atol=1e-4,
            )

    def test_a_batch_is_padded_with_the_training_mean_behind_the_last_frame(self):
        sequences = [np.ones((2, 3), np.float16), np.full((5, 3), 2, np.float32)]
        standardiser = Standardiser.fit(sequences)
        frames, n_frames = collate(sequences, standardiser)
        assert frames.shape == (2, 5, 3)
        assert n_frames.tolist() == [2, 5]
        np.testing.assert_array_equal(frames[0, 2:], np.zeros((3, 3)))
        np.testing.assert_array_equal(frames[0, :2], standardiser.transform(sequences[0]))

    def test_batches_hold_each_row_once_and_rows_of_like_length(self):
        rng = np.random.default_rng(0)
        lengths = rng.integers(1, 1000, 333)
        batches = batches_by_length(np.arange(333), lengths, 10, rng)
        np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(333))
        assert {len(batch) for batch in batches} <= {9, 10}
        assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 400  # 800 in batches at random
        means = [lengths[batch].mean() for batch in batches]
        assert np.abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5

    def test_batches_of_one_epoch_are_not_those_of_the_next(self):
        rng = np.random.default_rng(0)
        lengths = rng.integers(40, 60, 30)
        first, second = (
            {frozenset(batch) for batch in batches_by_length(np.arange(30), lengths, 5, rng)}
            for _ in range(2)
        )
        assert not first & second

    def test_oversampling_makes_classes_equally_frequent_and_drops_no_row(self):
        targets = np.array([0] * 7 + [1] * 3 + [2])
        rows = balanced_rows(targets, np.random.default_rng(0))
        assert np.bincount(targets[rows]).tolist() == [7, 7, 7]
        assert set(rows) == set(range(11))
        assert set(np.bincount(rows)[7:10]) <= {2, 3}


class TestMasks:
    def test_they_cover_blocks_of_valid_frames_and_of_features(self):
        rng = np.random.default_rng(0)
        frames, n_frames = torch.ones(200, 40, 8), torch.full((200,), 20)
        Masks(n_time=1, time_width=3).apply(frames, n_frames, rng)
        hidden = (frames == 0).all(dim=2)
        assert not hidden[:, 20:].any()
        assert set(hidden.sum(dim=1).tolist()) == {0, 1, 2, 3}
        assert hidden[:, 19].any()
        frames = torch.ones(200, 40, 8)
        Masks(n_frequency=1, frequency_width=8).apply(frames, n_frames, rng)
        hidden = (frames == 0).all(dim=1)
        assert set(hidden.sum(dim=1).tolist()) == set(range(9))
        edges = (hidden.int().diff(dim=1) != 0).sum(dim=1)
        assert edges.max() <= 2  # in one piece

    def test_a_time_mask_covers_a_fifth_of_a_sequence_at_most(self):
        frames = torch.ones(100, 30, 2)
        Masks(n_time=1, time_width=30).apply(frames, torch.full((100,), 10), np.random.default_rng(0))
        assert (frames[..., 0] == 0).sum(dim=1).max() == 2

    def test_they_fall_on_training_batches_only(self, monkeypatch):
        n_masked = []
        apply = Masks.apply
        monkeypatch.setattr(
            Masks, "apply", lambda self, *given: (n_masked.append(len(given[0])), apply(self, *given))
        )
        head = head_of("mean_mlp", masks={"n_time": 1, "time_width": 4}, max_epochs=3)
        head.fit(*data(24), validation=data(12, seed=1))
        assert sum(n_masked) == 3 * 24
        n_masked.clear()
        head.predict_proba(data(12)[0])
        assert n_masked == []

    def test_what_they_cover_never_reaches_the_network(self, monkeypatch):
        monkeypatch.setattr(Masks, "apply", lambda self, frames, n_frames, rng: frames.zero_())
        first, last = (
            head_of("mean_mlp", weight_decay=0.0, max_epochs=n)
            .fit(*data(24))
            .state()["network.dense.0.weight"]
            for n in (1, 4)
        )
        np.testing.assert_array_equal(first, last)

    @pytest.mark.parametrize(
        ("masks", "answer"),
        [
            ({"width": 3}, "n_time, time_width, n_frequency, frequency_width"),
            ("time", "None or a dict"),
            ({"n_time": -1}, "n_time to be a whole number from 0 on, not -1"),
            ({"n_frequency": 1, "frequency_width": 6}, "frequency_width 6, and a frame has 5 features"),
        ],
    )
    def test_masks_that_cannot_be_are_refused(self, masks, answer):
        with pytest.raises(HeadError, match=answer):
            head_of("mean_mlp", masks=masks).fit(*data(12))


class TestBadInput:
    def test_an_unknown_name_is_answered_with_the_names(self):
        with pytest.raises(HeadError, match="no sequence head named 'gru'; the sequence heads are mean_mlp"):
            make_sequence_head("gru")

    def test_an_unknown_setting_is_answered_with_the_settings(self):
        with pytest.raises(HeadError, match="mean_mlp has no setting 'units'; it has batch_size, clip_norm"):
            make_sequence_head("mean_mlp", units=(3,))

    @pytest.mark.parametrize(
        ("settings", "answer"),
        [
            ({"learning_rate": 0}, "learning_rate to be a number above 0, not 0"),
            ({"learning_rate": "fast"}, "learning_rate to be a number above 0, not 'fast'"),
            ({"dropout": 1.0}, "dropout to be a number from 0 to below 1"),
            ({"optimizer": "sgd"}, "optimizer to be 'adam' or 'adamw', not 'sgd'"),
            ({"loss": "hinge"}, "loss to be 'cross_entropy' or 'focal'"),
            ({"max_epochs": 0}, "max_epochs to be a whole number from 1 on"),
            ({"patience": 0}, "patience to be None or a whole number from 1 on"),
            ({"hidden_units": 64}, "hidden_units to be a tuple of whole numbers"),
            ({"units": ()}, "units to be a tuple of whole numbers from 1 on, one per layer"),
            ({"oversample": "yes"}, "oversample to be True or False"),
        ],
    )
    def test_values_out_of_range_are_refused(self, settings, answer):
        with pytest.raises(HeadError, match=f"lstm wants {answer}"):
            make_sequence_head("lstm", **settings).fit(*data(12))

    @pytest.mark.parametrize(
        ("sequences", "answer"),
        [
            ([], "at least one sequence"),
            ([np.ones((3, 5)), np.ones((0, 5))], r"sequence 1 has the shape \(0, 5\)"),
            ([np.ones(5)], r"sequence 0 has the shape \(5,\), and not \(frames, dim\)"),
            (
                [np.ones((3, 5)), np.ones((3, 4))],
                "sequence 1 has 4 features per frame, and this head reads 5",
            ),
            ([np.ones((3, 4))], "sequence 0 has 4 features per frame, and this head reads 5"),
        ],
    )
    def test_sequences_that_cannot_be_read_are_refused(self, sequences, answer, fitted):
        with pytest.raises(HeadError, match=answer):
            fitted["mean_mlp"].predict_proba(sequences)

    def test_a_single_class_is_refused(self):
        with pytest.raises(HeadError, match="all 12 training sequences are anger"):
            head_of("mean_mlp").fit(data(12)[0], ["anger"] * 12)

    def test_labels_of_another_number_are_refused(self):
        sequences, y = data(12)
        with pytest.raises(HeadError, match=r"12 sequences want one label each, not labels of shape \(11,\)"):
            head_of("mean_mlp").fit(sequences, y[1:])
        with pytest.raises(HeadError, match="12 sequences want one label each"):
            head_of("mean_mlp").fit(sequences, y, validation=(sequences, y[1:]))

    def test_validation_without_a_known_class_is_refused(self):
        sequences, y = data(12)
        with pytest.raises(HeadError, match="no validation sequence has a label that was trained on, anger"):
            head_of("mean_mlp").fit(sequences, y, validation=(sequences, ["joy"] * 12))

    def test_importing_the_heads_imports_neither_torch_nor_scikit_learn(self):
        code = (
            "import sys, ser_transfer.heads; sys.exit(bool({'torch', 'sklearn', 'scipy'} & set(sys.modules)))"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestStorage:
    @pytest.fixture
    def folder(self, fitted, tmp_path):
        fitted["lstm"].save(tmp_path)
        return tmp_path

    @pytest.mark.parametrize(
        ("change", "answer"),
        [
            ({"format": 2}, "does not say format 1"),
            ({"format": 0}, "does not say format 1"),
            ({"name": "gru"}, "no sequence head named 'gru'"),
            ({"settings": {"speed": 3}}, "lstm has no setting 'speed'"),
            ({"settings": {"learning_rate": -1}}, "learning_rate to be a number above 0"),
            ({"settings": {"units": [12, 9]}}, "does not hold the weights of its settings"),
        ],
    )
    def test_a_folder_that_says_something_else_is_refused(self, folder, change, answer):
        config = json.loads((folder / "head.json").read_text(encoding="utf-8"))
        config |= {key: config[key] | value if key == "settings" else value for key, value in change.items()}
        (folder / "head.json").write_text(json.dumps(config), encoding="utf-8")
        with pytest.raises(HeadError, match=answer):
            load_sequence_head(folder)

    def test_a_folder_that_lacks_a_part_is_refused(self, folder, tmp_path):
        state = load_file(folder / "head.safetensors")
        save_file(
            {key: value for key, value in state.items() if "mean" not in key}, folder / "head.safetensors"
        )
        with pytest.raises(
            HeadError, match=r"does not hold the weights of its settings: 'standardiser\.mean'"
        ):
            load_sequence_head(folder)
        (folder / "head.safetensors").write_bytes(b"nothing")
        with pytest.raises(HeadError, match=r"head\.safetensors cannot be read"):
            load_sequence_head(folder)
        (folder / "head.json").write_text('{"format": 1}', encoding="utf-8")
        with pytest.raises(HeadError, match="lacks name, settings"):
            load_sequence_head(folder)
        (folder / "head.json").write_text("{", encoding="utf-8")
        with pytest.raises(HeadError, match="is no JSON"):
            load_sequence_head(folder)
        with pytest.raises(HeadError, match="holds no sequence head: No such file"):
            load_sequence_head(tmp_path / "nowhere")

    def test_a_folder_that_cannot_be_written_is_named(self, fitted, tmp_path):
        (tmp_path / "file").write_text("", encoding="utf-8")
        with pytest.raises(HeadError, match="cannot write the head to"):
            fitted["lstm"].save(tmp_path / "file")


class TestSearch:
    def test_the_choice_has_the_best_validation_uar(self):
        space = {"learning_rate": (1e-6, 0.01, 1e-5)}
        validation = data(30, seed=1)
        best = choose_sequence_settings(
            "mean_mlp", *data(), validation, space=space, max_epochs=6, hidden_units=(16,)
        )
        assert best.settings == {"learning_rate": 0.01, "max_epochs": 6, "hidden_units": (16,)}
        assert best.head.score(*validation) == pytest.approx(best.uar)
        assert best.head.get_params()["learning_rate"] == 0.01

    def test_of_equal_settings_the_first_wins(self):
        space = {"weight_decay": (0.02, 0.01)}
        best = choose_sequence_settings(
            "mean_mlp", *data(), data(), space=space, max_epochs=8, learning_rate=0.01
        )
        assert best.uar == 1.0
        assert best.settings["weight_decay"] == 0.02

    def test_listed_values_are_drawn_without_repeats_and_by_the_seed(self):
        space = {"dropout": (0.1, 0.2, 0.3), "gamma": (1.0, 2.0)}
        assert draw_settings(space)[:2] == [{"dropout": 0.1, "gamma": 1.0}, {"dropout": 0.1, "gamma": 2.0}]
        drawn = draw_settings(space, 4, random_state=1)
        assert len({tuple(settings.items()) for settings in drawn}) == 4
        assert drawn == draw_settings(space, 4, random_state=1) != draw_settings(space, 4, random_state=2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert draw_settings(space, 99) == draw_settings(space)

    def test_a_range_is_drawn_evenly_in_its_logarithm(self):
        drawn = draw_settings({"learning_rate": loguniform(1e-4, 1e-2)}, 400)
        rates = np.array([settings["learning_rate"] for settings in drawn])
        assert all(type(settings["learning_rate"]) is float for settings in drawn)
        assert rates.min() >= 1e-4
        assert rates.max() <= 1e-2
        assert np.mean(rates < 1e-3) == pytest.approx(0.5, abs=0.08)

    @pytest.mark.parametrize(
        ("space", "n_draws", "answer"),
        [
            ({"learning_rate": loguniform(1e-4, 1e-2)}, None, "learning_rate has endlessly many values"),
            ({"dropout": ()}, None, "dropout wants a list of values to try or a distribution"),
            ({"dropout": 0.3}, 3, "dropout wants a list of values to try or a distribution, not 0.3"),
            ({"dropout": (0.3,)}, 0, "n_draws is 0"),
        ],
    )
    def test_a_space_that_cannot_be_searched_is_refused(self, space, n_draws, answer):
        with pytest.raises(HeadError, match=answer):
            draw_settings(space, n_draws)
