import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import recall_score
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

from ser_transfer.heads import GRIDS, HEADS, HeadError, Tuner, choose_settings, make_head
from ser_transfer.heads.neighbors import WeightedKNN
from ser_transfer.heads.row_space import row_space
from ser_transfer.heads.scaling import BlockScaler

EMOTIONS = np.array(["anger", "happiness", "sadness"])
# Fast, and for the kernel soft enough that no class is learned by heart.
FAST = {
    "mlp": {"max_iter": 300, "hidden_layer_sizes": (16,), "learning_rate_init": 0.01},
    "gradient_boosting": {"max_iter": 10},
    "rbf_svm": {"C": 1.0},
}


def data(n_rows=120, n_features=30, n_classes=3, separation=1.0, shares=None, seed=0):
    """Classes with means of their own, in features of very different scales."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(n_classes, n_rows, p=shares)
    means = np.random.default_rng(99).normal(0, separation, (n_classes, n_features))
    rows = rng.normal(means[codes], 1.0) * np.logspace(-2, 2, n_features) + 5.0
    return rows.astype(np.float32), EMOTIONS[codes]


def head_of(name, **arguments):
    return make_head(name, **FAST.get(name, {}) | arguments)


@pytest.fixture(autouse=True)
def _quiet_networks():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Stochastic Optimizer")  # short training is enough here
        yield


@pytest.mark.parametrize("name", HEADS)
class TestEveryHead:
    def test_it_learns_and_names_its_columns(self, name):
        X, y = data()
        head = head_of(name).fit(X, y)
        probabilities = head.predict_proba(X)
        np.testing.assert_array_equal(head.classes_, EMOTIONS)
        assert probabilities.shape == (120, 3)
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
        np.testing.assert_array_equal(EMOTIONS[probabilities.argmax(axis=1)], head.predict(X))
        fresh_X, fresh_y = data(seed=1)
        assert head.score(fresh_X, fresh_y) > 0.8

    def test_it_clones_with_its_settings_and_gives_the_same_result_for_the_same_seed(self, name):
        X, y = data(separation=0.3)
        head = head_of(name, random_state=3)
        copy = clone(head)
        parameters, copied = (
            {key: value for key, value in one.get_params().items() if not key.startswith(("steps", "scaler"))}
            for one in (head["classifier"], copy["classifier"])
        )
        assert parameters == copied
        np.testing.assert_array_equal(head.fit(X, y).predict_proba(X), copy.fit(X, y).predict_proba(X))

    def test_balanced_weights_raise_the_recall_of_a_rare_class(self, name):
        X, y = data(400, separation=0.3, shares=[0.08, 0.46, 0.46])
        new_X, new_y = data(400, separation=0.3, seed=1)
        recalls = [
            recall_score(new_y, head_of(name, class_weight=weight).fit(X, y).predict(new_X), average=None)[0]
            for weight in (None, "balanced")
        ]
        assert recalls[1] > recalls[0]

    def test_more_features_than_rows(self, name):
        X, y = data(60, 500)
        head = head_of(name).fit(X, y)
        assert head.score(*data(60, 500, seed=1)) > 0.8

    def test_two_classes(self, name):
        X, y = data(n_classes=2)
        head = head_of(name).fit(X, y)
        probabilities = head.predict_proba(X)
        assert probabilities.shape == (120, 2)
        np.testing.assert_array_equal(EMOTIONS[probabilities.argmax(axis=1)], head.predict(X))
        assert head.score(*data(n_classes=2, seed=1)) > 0.8

    def test_a_constant_feature_changes_nothing(self, name):
        X, y = data()
        wide = np.insert(X, 7, 1e6 / 3, axis=1)
        probabilities = head_of(name).fit(wide, y).predict_proba(wide)
        assert np.isfinite(probabilities).all()
        if name != "mlp":  # one feature more draws other first weights
            np.testing.assert_allclose(probabilities, head_of(name).fit(X, y).predict_proba(X), atol=1e-3)

    def test_what_it_answers_to_one_row_does_not_depend_on_the_others(self, name):
        X, y = data()
        head = head_of(name).fit(X, y)
        np.testing.assert_allclose(head.predict_proba(X)[:1], head.predict_proba(X[:1]), rtol=1e-4, atol=1e-6)

    def test_a_number_that_is_none_is_refused_by_its_place(self, name):
        X, y = data()
        head = head_of(name).fit(X, y)
        X[3, 5] = np.nan
        with pytest.raises(HeadError, match="feature 5 of row 3 is nan"):
            head.predict(X)
        with pytest.raises(HeadError, match="feature 5 of row 3 is nan"):
            head_of(name).fit(X, y)

    def test_a_single_class_is_refused(self, name):
        X, _ = data()
        with pytest.raises(HeadError, match="all 120 training rows are anger"):
            head_of(name).fit(X, ["anger"] * 120)

    def test_its_grid_names_settings_that_it_has(self, name):
        for setting, values in GRIDS[name].items():
            assert all(make_head(name, **{setting: value}) for value in values)

    def test_it_survives_skops(self, name):
        import skops.io

        X, y = data()
        head = head_of(name, block_sizes=(15, 15)).fit(X, y)
        stored = skops.io.dumps(head)
        types = skops.io.get_untrusted_types(data=stored)
        assert all(name.startswith(("ser_transfer.heads.", "sklearn.")) for name in types)
        loaded = skops.io.loads(stored, trusted=types)
        np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))


class TestMakeHead:
    def test_an_unknown_name_is_answered_with_the_names(self):
        with pytest.raises(
            HeadError, match=r"no head named 'svm'; the heads are logistic_regression, linear_svm"
        ):
            make_head("svm")

    def test_an_unknown_setting_is_answered_with_the_settings(self):
        with pytest.raises(HeadError, match="rbf_svm has no setting 'c'; it has C, gamma"):
            make_head("rbf_svm", c=1.0)

    @pytest.mark.parametrize("name", ["lda", "nearest_centroid"])
    def test_weights_that_a_head_does_not_know_are_refused(self, name):
        with pytest.raises(HeadError, match=f"{name} takes class_weight 'balanced' or None"):
            make_head(name, class_weight={"anger": 2.0, "happiness": 1.0, "sadness": 1.0}).fit(*data())

    @pytest.mark.parametrize(
        ("name", "settings"), [("logistic_regression", {"C": -1.0}), ("lda", {"shrinkage": 0})]
    )
    def test_values_out_of_range_are_refused(self, name, settings):
        with pytest.raises(HeadError, match=f"{name} wants"):
            make_head(name, **settings).fit(*data())

    def test_importing_the_registry_imports_no_scikit_learn(self):
        code = "import sys, ser_transfer.heads; sys.exit('sklearn' in sys.modules or 'scipy' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_logistic_regression_that_stops_early_says_so(self):
        with pytest.warns(match="logistic_regression had not converged after 2 steps"):
            make_head("logistic_regression", max_iter=2).fit(*data())


class TestBlockScaler:
    def test_statistics_come_from_the_training_rows_only(self):
        X, _ = data()
        scaler = BlockScaler().fit(X[:60])
        np.testing.assert_allclose(scaler.mean_, X[:60].mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(scaler.transform(X)[:60], scaler.transform(X[:60]))

    def test_blocks_weigh_the_same_and_a_rows_variance_is_one(self):
        X, _ = data(n_features=100)
        X[:, 3] = 7.0
        variance = BlockScaler((10, 90)).fit_transform(X).var(axis=0)
        np.testing.assert_allclose([variance[:10].sum(), variance[10:].sum()], [0.5, 0.5], rtol=1e-4)
        assert variance[3] == 0.0
        np.testing.assert_allclose(
            BlockScaler((10, 90), unit="feature").fit_transform(X).var(axis=0).sum(), 99, rtol=1e-4
        )

    def test_sizes_that_do_not_add_up_are_refused(self):
        with pytest.raises(HeadError, match=r"they are \[10, 10\], in all 20, and there are 30 features"):
            BlockScaler((10, 10)).fit(data()[0])

    def test_other_features_than_in_training_are_refused(self):
        with pytest.raises(HeadError, match="trained on 30 features and was given 29"):
            BlockScaler().fit(data()[0]).transform(data()[0][:, 1:])


@pytest.mark.parametrize("n_features", [20, 300], ids=["fewer features than rows", "more features than rows"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
class TestLinearHeadsAgainstScikitLearn:
    @pytest.fixture
    def scaled(self, n_features, n_classes):
        X, y = data(90, n_features, n_classes, separation=0.3)
        return BlockScaler().fit_transform(X).astype(np.float64), y

    def test_logistic_regression(self, scaled, class_weight):
        X, y = scaled
        ours = make_head("logistic_regression", C=20.0, tol=1e-9, class_weight=class_weight)[
            "classifier"
        ].fit(X, y)
        plain = linear_model.LogisticRegression(
            C=20.0, tol=1e-10, max_iter=10_000, class_weight=class_weight
        ).fit(X, y)
        np.testing.assert_allclose(ours.coef_, plain.coef_, atol=1e-4 * np.abs(plain.coef_).max())
        np.testing.assert_allclose(ours.predict_proba(X), plain.predict_proba(X), atol=1e-5)

    def test_logistic_regression_at_its_default_tolerance(self, scaled, class_weight):
        X, y = scaled
        ours = make_head("logistic_regression", C=20.0, class_weight=class_weight)["classifier"].fit(X, y)
        plain = linear_model.LogisticRegression(
            C=20.0, tol=1e-10, max_iter=10_000, class_weight=class_weight
        ).fit(X, y)
        np.testing.assert_allclose(ours.predict_proba(X), plain.predict_proba(X), atol=2e-3)

    def test_linear_svm(self, scaled, class_weight):
        X, y = scaled
        ours = make_head("linear_svm", C=2.0, tol=1e-8, max_iter=100_000, class_weight=class_weight)[
            "classifier"
        ]
        # Its own class_weight would weigh a class against the rest, but leave the rest's rows at 1.
        weights = compute_sample_weight(class_weight, y)
        plain = LinearSVC(C=2.0, dual=False, tol=1e-10, max_iter=10_000).fit(X, y, sample_weight=weights)
        ours.fit(X, y)
        np.testing.assert_allclose(ours.coef_, plain.coef_, atol=1e-4 * np.abs(plain.coef_).max())
        np.testing.assert_allclose(ours.decision_function(X), plain.decision_function(X), atol=1e-4)

    def test_lda(self, scaled, class_weight, n_classes):
        X, y = scaled
        coordinates = PCA(row_space(X).coordinates.shape[1]).fit_transform(X)
        priors = np.full(n_classes, 1 / n_classes) if class_weight else None
        plain = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=priors).fit(coordinates, y)
        ours = make_head("lda", shrinkage=0.3, class_weight=class_weight)["classifier"].fit(X, y)
        np.testing.assert_allclose(ours.predict_proba(X), plain.predict_proba(coordinates), atol=1e-5)


def test_rbf_svm_is_scikit_learns():
    X, y = data(separation=0.4)
    new = data(separation=0.4, seed=1)[0]
    scaler = BlockScaler().fit(X)
    plain = SVC(C=10.0, gamma="scale", class_weight="balanced", break_ties=True).fit(scaler.transform(X), y)
    ours = make_head("rbf_svm", C=10.0, gamma=1.0).fit(X, y)
    np.testing.assert_allclose(
        ours.decision_function(new), plain.decision_function(scaler.transform(new)), atol=1e-3
    )


class TestChooseSettings:
    @pytest.mark.parametrize("name", [name for name in HEADS if name not in ("mlp", "gradient_boosting")])
    def test_the_choice_has_the_best_uar_on_validation_rows(self, name):
        X, y = data(separation=0.25)
        new_X, new_y = data(separation=0.25, seed=1)
        blocks = (15, 15) if name == "layer_mix" else (10, 20)  # which adds layers of one width up
        best = choose_settings(name, X, y, new_X, new_y, block_sizes=blocks)
        values = next(iter(GRIDS[name].values())) if len(GRIDS[name]) == 1 else None
        recalls = {}
        for value in values or ():
            fitted = make_head(name, block_sizes=blocks, **{next(iter(GRIDS[name])): value}).fit(X, y)
            recalls[value] = recall_score(new_y, fitted.predict(new_X), average="macro")
        assert set(best.settings) == set(GRIDS[name])
        assert best.uar == pytest.approx(recall_score(new_y, best.head.predict(new_X), average="macro"))
        if values:
            first = next(value for value in values if recalls[value] == max(recalls.values()))
            assert best.settings == {next(iter(GRIDS[name])): first}

    def test_heads_that_share_rows_are_chosen_as_if_each_were_alone(self):
        X, y = data(separation=0.25)
        new_X, new_y = data(separation=0.25, seed=1)
        tuner = Tuner(X, y, new_X, new_y, block_sizes=(10, 20))
        for name in ("logistic_regression", "lda", "rbf_svm", "knn", "linear_svm"):
            alone = choose_settings(name, X, y, new_X, new_y, block_sizes=(10, 20))
            shared = tuner.choose(name)
            assert shared.settings == alone.settings
            np.testing.assert_array_equal(shared.head.predict_proba(new_X), alone.head.predict_proba(new_X))

    def test_of_equal_settings_the_first_wins(self):
        X, y = data(separation=5.0)
        assert choose_settings("logistic_regression", X, y, X, y, grid={"C": (3.0, 1.0, 10.0)}).settings == {
            "C": 3.0
        }

    def test_no_validation_rows_is_refused(self):
        X, y = data()
        with pytest.raises(HeadError, match="keep the defaults"):
            choose_settings("knn", X, y, X[:0], y[:0])


class TestLayerMix:
    def test_the_layer_that_tells_classes_apart_gets_the_weight(self):
        X, y = data(200, 10, separation=1.0)
        noise = np.random.default_rng(0).normal(size=(200, 20))
        head = make_head("layer_mix", block_sizes=(10, 10, 10)).fit(np.hstack([noise, X]), y)
        weights = head["classifier"].layer_weights_
        assert weights.sum() == pytest.approx(1.0)
        assert weights[2] > 0.8

    def test_with_one_layer_it_is_the_logistic_regression(self):
        X, y = data(150, 12, separation=0.3)
        mixed = make_head("layer_mix", C=1.0, tol=1e-8).fit(X, y)
        plain = make_head("logistic_regression", C=1.0, tol=1e-8).fit(X, y)
        np.testing.assert_allclose(mixed.predict_proba(X), plain.predict_proba(X), atol=2e-3)

    def test_its_slope_is_that_of_its_loss(self):
        """Nudging what was found in any direction finds nothing better."""
        X, y = data(100, 12, separation=0.3)
        found = make_head("layer_mix", C=1.0, tol=1e-9, max_iter=5000, block_sizes=(4, 4, 4)).fit(X, y)
        classifier, scaled = found["classifier"], found["scaler"].transform(X)
        targets = np.searchsorted(classifier.classes_, y)
        layers = scaled.reshape(len(X), 3, 4) * np.sqrt(3)

        def loss(mix, coefficients, intercept):
            mixed = np.tensordot(mix / mix.sum(), layers, axes=(0, 1))
            scores = mixed @ coefficients.T + intercept
            scores -= scores.max(axis=1, keepdims=True)
            log_likelihood = scores[np.arange(len(X)), targets] - np.log(np.exp(scores).sum(axis=1))
            weights = compute_sample_weight("balanced", y)
            return -weights @ log_likelihood + 0.5 * np.square(coefficients).sum()

        best = (classifier.layer_weights_, classifier.coef_, classifier.intercept_)
        rng = np.random.default_rng(0)
        for _ in range(50):
            nudged = [values * np.exp(1e-2 * rng.normal(size=values.shape)) for values in best]
            assert loss(*nudged) >= loss(*best) - 1e-5

    def test_layers_of_unlike_widths_are_refused(self):
        with pytest.raises(HeadError, match="of one width"):
            make_head("layer_mix", block_sizes=(10, 20))


def test_where_rows_are_fewer_than_the_neighbours_asked_for_all_of_them_vote():
    rows, emotions = [[0.0], [0.1], [5.0]], ["anger", "anger", "fear"]
    few, many = (WeightedKNN(n_neighbors=n, weights="distance").fit(rows, emotions) for n in (3, 40))
    np.testing.assert_array_equal(many.predict_proba([[1.0], [4.0]]), few.predict_proba([[1.0], [4.0]]))
    assert many.n_neighbors == 40
