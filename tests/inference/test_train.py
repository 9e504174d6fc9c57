"""Training by minibatches: its optimum, and all that a long training must survive."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import dynplat as dp
from dynplat.arrays import array_namespace, asarray_like
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, CapabilityError, InferenceError, StorageError
from dynplat.inference import InferenceWarning, map
from dynplat.inference.train import run
from dynplat.model import AbstractModel
from dynplat.precision import network_precision
from dynplat.process.base import AbstractProcess
from dynplat.records import Capabilities, ModelEntry


class NeuralProcess(AbstractProcess):
    """y_t ~ N(f(y_{t-1}), sd^2), f a network with one hidden layer; holes are fed as 0."""

    def __init__(self, weights, sd):
        self.weights, self.sd = weights, sd

    def log_prob_steps(self, observations):
        xp = array_namespace(self.sd)
        values, mask = (asarray_like(part, self.sd) for part in (observations.values, observations.mask))
        seen = xp.where(mask, values, xp.zeros_like(values))
        past = xp.concat([xp.zeros_like(seen[..., :1, :]), seen[..., :-1, :]], axis=-2)
        first, bias, second = (self.weights[name] for name in ("0.weight", "0.bias", "2.weight"))
        with network_precision(past):
            hidden = xp.tanh(past @ xp.matrix_transpose(first) + bias[..., None, :])
            mean = hidden @ xp.matrix_transpose(second)
        sd = self.sd[..., None, None]
        terms = -0.5 * ((values - xp.astype(mean, sd.dtype)) / sd) ** 2 - xp.log(sd) - 0.5 * math.log(2 * math.pi)
        return xp.sum(xp.where(mask, terms, xp.zeros_like(terms)), axis=-1)


@dataclass(frozen=True)
class Neural(AbstractModel):
    """An autoregression whose mean is a network; its weights are point-estimated."""

    entry = ModelEntry("test/neural", "A network", capabilities=Capabilities(languages=("pyro",)))
    hidden: int = 6

    def prior(self, pp, context):
        torch.manual_seed(5)
        network = torch.nn.Sequential(
            torch.nn.Linear(1, self.hidden), torch.nn.Tanh(), torch.nn.Linear(self.hidden, 1, bias=False)
        )
        pp.module("net", network)
        pp.sample("sd", pp.dist.LogNormal(0.0, 1.0))

    def process(self, sites, context):
        weights = {name.removeprefix("net."): value for name, value in sites.items() if name.startswith("net.")}
        return NeuralProcess(weights, sites["sd"])


def autoregressions(lengths, *, missing=0.0, seed=0):
    rng = np.random.default_rng(seed)
    values = []
    for length in lengths:
        y = np.zeros(length)
        for t in range(1, length):
            y[t] = 0.3 + 0.7 * y[t - 1] + 0.5 * rng.normal()
        values.append(np.where(rng.random(length) < missing, np.nan, y)[:, None])
    return Trajectories.from_arrays([np.arange(float(n)) for n in lengths], values)


@pytest.fixture(scope="module")
def ragged():
    return autoregressions((60, 40, 50, 80, 30, 70, 20, 45), missing=0.1)


@pytest.fixture(scope="module")
def many():
    return autoregressions([25] * 24, seed=3)


def values_of(fit):
    return {str(name): v.values[0, 0] for name, v in fit.tree["posterior"].dataset.data_vars.items()}


def extra_of(fit):
    return fit.provenance["extra"]


QUICK: dict[str, Any] = {"seed": 0, "learning_rate": 0.05, "batch_size": 3}


def test_the_optimum_is_that_of_map(models, ragged):
    model = models["autoregression"]
    exact = map.run(model, ragged, seed=0, language="pyro", restarts=0)
    fit = run(model, ragged, **QUICK, num_epochs=150, validation=0.0, final_rate=1e-3)
    for name, value in values_of(exact).items():
        error = exact.standard_errors[name]
        assert abs(values_of(fit)[name] - value) < 0.05 * error
    assert extra_of(fit)["objective"] == pytest.approx(extra_of(exact)["objective"], abs=5e-3)
    assert extra_of(fit)["objective"] <= extra_of(exact)["objective"] + 1e-9
    assert extra_of(fit)["converged"]
    assert fit.log_likelihood == pytest.approx(extra_of(fit)["log_likelihood"])
    # The loss is minus the density per observed value, of all batches together.
    assert extra_of(fit)["history"]["training"][-1] * ragged.mask.sum() == pytest.approx(
        -extra_of(fit)["objective"], abs=0.02
    )


def test_batches_estimate_the_loss_of_all_data_without_bias(models, ragged):
    model = models["autoregression"]
    whole = run(model, ragged, seed=0, batch_size=100, num_steps=1, validation=0.0)
    many_batches = run(model, ragged, seed=0, batch_size=1, num_steps=8, learning_rate=1e-12, validation=0.0)
    # With a rate of nothing the mean over the batches of an epoch is the loss of all data.
    assert extra_of(many_batches)["history"]["training"][0] == pytest.approx(
        extra_of(whole)["history"]["training"][0], rel=1e-9
    )


def test_parameters_of_series_are_trained_by_batches(models):
    rng = np.random.default_rng(1)
    offsets = rng.normal(scale=1.5, size=6)
    data = Trajectories.from_arrays(np.arange(20.0), offsets[:, None, None] + rng.normal(size=(6, 20, 1)))
    exact = map.run(models["panel"], data, seed=0, language="pyro", restarts=0)
    fit = run(models["panel"], data, seed=0, learning_rate=0.05, batch_size=2, num_epochs=300, validation=0.0)
    for name, value in values_of(exact).items():
        np.testing.assert_allclose(values_of(fit)[name], value, atol=0.02)
    held = run(models["panel"], data, seed=0, batch_size=2, num_epochs=2, validation=0.2)
    assert extra_of(held)["split"] == "time"
    with pytest.raises(ArgumentError, match="`split` must be 'time' here"):
        run(models["panel"], data, seed=0, split="series")


def test_windows_with_a_warm_up_lead_to_the_same_optimum(models):
    data = autoregressions((900,), seed=2)
    model = models["autoregression"]
    exact = map.run(model, data, seed=0, language="pyro", restarts=0)
    fit = run(model, data, **QUICK, num_epochs=60, window=60, warm_up=1, validation=0.0, final_rate=1e-3)
    for name, value in values_of(exact).items():
        # One row before a window is all that this law looks at, so that the windows' likelihoods add up to the whole.
        assert abs(values_of(fit)[name] - value) < 0.1 * exact.standard_errors[name]
    assert any("windows of 60 rows" in note and "1 rows before" in note for note in extra_of(fit)["notes"])
    at_start = run(
        model, data, seed=0, batch_size=4, window=70, warm_up=1, num_epochs=1, learning_rate=1e-12, validation=0.0
    )
    whole = run(model, data, seed=0, batch_size=4, num_epochs=1, learning_rate=1e-12, validation=0.0)
    assert extra_of(at_start)["history"]["training"][0] == pytest.approx(extra_of(whole)["history"]["training"][0])


def test_validation_is_by_the_last_rows_of_one_series(models):
    data = autoregressions((200,), seed=2)
    fit = run(models["autoregression"], data, **QUICK, num_steps=300, validation=0.25)
    assert extra_of(fit)["split"] == "time"
    terms = fit.tree["log_likelihood"].dataset["y"].values[0, 0, 0]
    assert extra_of(fit)["validation_loss"] == pytest.approx(-terms[150:].mean())
    windows = run(models["autoregression"], data, **QUICK, num_steps=300, validation=0.25, window=25, warm_up=1)
    assert extra_of(windows)["validation_loss"] == pytest.approx(extra_of(fit)["validation_loss"], abs=0.02)


def test_the_best_weights_come_back_and_patience_ends_the_training(many):
    options: dict[str, Any] = {"seed": 1, "learning_rate": 0.1, "batch_size": 2, "validation": 0.5, "weight_decay": 0.0}
    fit = run(Neural(hidden=40), many, **options, num_epochs=40, patience=5)
    history = extra_of(fit)["history"]["validation"]
    assert extra_of(fit)["stopped"] == "patience"
    best = int(np.argmin(history))
    assert extra_of(fit)["best_epoch"] == best + 1 == len(history) - 5
    assert extra_of(fit)["validation_loss"] == history[best]
    on = run(Neural(hidden=40), many, **options, num_epochs=40, patience=None)
    assert extra_of(on)["epochs"] == 40
    # The terms of the result are those of the best epoch, not of the last.
    held = _held_back(many, 0.5, 1)
    terms = on.tree["log_likelihood"].dataset["y"].values[0, 0][held]
    assert -terms.mean() == pytest.approx(min(extra_of(on)["history"]["validation"]))


def _held_back(data, share, seed):
    from dynplat.inference.training.items import split_rows

    return split_rows(data.mask.sum(axis=-1), data.lengths, share, "auto", local=False, seed=seed).validation.series


class Watch:
    def __init__(self):
        self.told = []

    def started(self, model, data, method): ...

    def step(self, step, total, info):
        self.told.append((step, total, info))

    def ended(self, posterior, error): ...


def test_observers_hear_of_losses_and_of_the_time_that_is_left(models, ragged):
    watch = Watch()
    run(models["autoregression"], ragged, seed=0, batch_size=2, num_epochs=3, observers=[watch])
    assert [step for step, _, _ in watch.told] == [4, 8, 12]
    assert {total for _, total, _ in watch.told} == {12}
    last = watch.told[-1][2]
    assert set(last) == {"loss", "epoch", "rate", "seconds_left", "validation"}
    assert last["seconds_left"] == 0.0
    assert watch.told[0][2]["seconds_left"] > 0.0


@pytest.mark.parametrize(("num_epochs", "words"), [(1, "nobody can say"), (3, "training still fell by")])
def test_a_training_that_is_too_short_says_so(num_epochs, words, models, ragged):
    fit = run(models["autoregression"], ragged, seed=0, num_epochs=num_epochs, validation=0.0)
    assert not extra_of(fit)["converged"]
    assert any(words in note and "`num_epochs`" in note for note in extra_of(fit)["notes"])


def test_gradients_are_clipped_by_their_norm(models, ragged, monkeypatch):
    norms = []
    whole = torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        norms.append(float(sum((w.grad**2).sum() for group in self.param_groups for w in group["params"]) ** 0.5))
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    fit = run(models["autoregression"], ragged, seed=0, batch_size=2, num_epochs=1, clip=1e-3)
    assert norms == pytest.approx([1e-3] * 4, rel=1e-2)
    # What is kept is the norm before it is clipped.
    assert extra_of(fit)["history"]["gradient_norm"][0] > 1.0
    norms.clear()
    free = run(models["autoregression"], ragged, seed=0, batch_size=2, num_epochs=1, clip=None)
    assert np.mean(norms) == pytest.approx(extra_of(free)["history"]["gradient_norm"][0])


def test_matrices_that_are_point_estimated_decay_and_nothing_else_does(many, monkeypatch):
    decayed = {}
    whole = torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        for group in self.param_groups:
            decayed[group["weight_decay"]] = sorted(tuple(w.shape) for w in group["params"])
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    fit = run(Neural(), many, seed=0, num_epochs=1, weight_decay=0.5)
    assert decayed == {0.5: [(1, 6), (6, 1)], 0.0: [(), (6,)]}
    assert extra_of(fit)["num_parameters"] == 6 + 6 + 6 + 1


SMALL: dict[str, Any] = {"seed": 4, "learning_rate": 0.02, "batch_size": 4, "num_epochs": 4, "validation": 0.2}


def _small(**options: Any) -> dict[str, Any]:
    return {**SMALL, **options}


class Stop(Exception):
    pass


def _stop_after(monkeypatch, steps, error: type[BaseException] = Stop):
    """Let a training fall over in the middle of a step."""
    whole, count = torch.optim.AdamW.step, [0]

    def step(self, *args, **kwargs):
        count[0] += 1
        if count[0] > steps:
            raise error
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)


class _NoisyProcess(NeuralProcess):
    def log_prob_steps(self, observations):
        exact = super().log_prob_steps(observations)
        return exact * (1.0 + 0.1 * torch.rand(exact.shape) + 0.1 * np.random.rand())


class Noisy(Neural):
    """Its likelihood is estimated with noise, from two generators."""

    def process(self, sites, context):
        exact = super().process(sites, context)
        return _NoisyProcess(exact.weights, exact.sd)


@pytest.mark.parametrize("model", [Neural(), Noisy()])
@pytest.mark.parametrize("steps", [3, 7, 13])
def test_a_resumed_training_ends_like_an_uninterrupted_one_bit_for_bit(model, steps, many, tmp_path, monkeypatch):
    path = str(tmp_path / "run.safetensors")
    straight = run(model, many, **SMALL)
    with monkeypatch.context() as patched:
        _stop_after(patched, steps)
        with pytest.raises(Stop):
            run(model, many, **SMALL, checkpoint=path, checkpoint_every=2)
    resumed = run(model, many, **SMALL, checkpoint=path, checkpoint_every=2, resume=True)
    for name, value in values_of(straight).items():
        assert values_of(resumed)[name].tobytes() == value.tobytes()
    same = ("history", "best_epoch", "steps", "stopped", "log_likelihood", "validation_loss")
    assert {name: extra_of(resumed)[name] for name in same} == {name: extra_of(straight)[name] for name in same}
    # A training that is over is not done again.
    again = run(model, many, **SMALL, checkpoint=path, resume=True)
    assert values_of(again)["sd"] == values_of(straight)["sd"]


def test_same_seed_same_result_and_another_seed_another(many):
    one, two = (run(Neural(), many, **SMALL) for _ in range(2))
    other = run(Neural(), many, **_small(seed=5))
    assert values_of(one)["sd"] == values_of(two)["sd"] != values_of(other)["sd"]


def test_checkpoints_of_others_and_those_that_are_in_the_way_are_refused(many, tmp_path):
    path = str(tmp_path / "run.safetensors")
    run(Neural(), many, **SMALL, checkpoint=path)
    with pytest.raises(ArgumentError, match=r"`checkpoint` .*is there already.*`resume=True`"):
        run(Neural(), many, **SMALL, checkpoint=path)
    with pytest.raises(ArgumentError, match=r"model options: \{\"hidden\": 6\} there, \{\"hidden\": 7\} here"):
        run(Neural(hidden=7), many, **SMALL, checkpoint=path, resume=True)
    with pytest.raises(ArgumentError, match=r"data: .* there, .* here"):
        run(Neural(), autoregressions([25] * 24, seed=4), **SMALL, checkpoint=path, resume=True)
    with pytest.raises(ArgumentError, match=r"learning_rate: 0\.02 there, 0\.5 here"):
        run(Neural(), many, **_small(learning_rate=0.5), checkpoint=path, resume=True)
    with pytest.raises(StorageError, match="is not there"):
        run(Neural(), many, **SMALL, checkpoint=str(tmp_path / "no" / "run.safetensors"))


def test_interrupts_are_raised_or_end_with_the_best_so_far(many, tmp_path, monkeypatch):
    path = str(tmp_path / "run.safetensors")
    with monkeypatch.context() as patched:
        _stop_after(patched, 12, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            run(Neural(), many, **SMALL, checkpoint=path)
    kept = run(Neural(), many, **SMALL, checkpoint=path, resume=True)
    assert extra_of(kept)["stopped"] == "epochs"
    with monkeypatch.context() as patched:
        _stop_after(patched, 12, KeyboardInterrupt)
        with pytest.warns(InferenceWarning, match=r"interrupted after 12 steps; the weights are those of epoch 2"):
            ended = run(Neural(), many, **SMALL, keep_interrupted=True)
    assert extra_of(ended)["stopped"] == "interrupted"
    assert extra_of(ended)["history"]["validation"] == extra_of(kept)["history"]["validation"][:2]


def test_time_that_is_up_ends_with_a_warning_and_the_rest_can_follow(many, tmp_path):
    path = str(tmp_path / "run.safetensors")
    with pytest.warns(InferenceWarning, match=r"out of time \(1e-09 minutes\) after 1 steps.*`resume=True`"):
        cut = run(Neural(), many, **SMALL, checkpoint=path, max_minutes=1e-9)
    assert extra_of(cut)["stopped"] == "time"
    whole = run(Neural(), many, **SMALL, checkpoint=path, resume=True)
    assert values_of(whole)["sd"] == values_of(run(Neural(), many, **SMALL))["sd"]


def test_a_loss_that_is_no_number_is_named_by_epoch_batch_series_and_row(build, tmp_path):
    values = np.zeros((4, 30, 1))
    values[2, 17] = 1e140
    data = Trajectories.from_arrays(np.arange(30.0), values, series=["a", "b", "c", "d"])

    def law(sites):
        loc = sites["loc"][..., None]
        return loc, 1e-200 + 0.0 * loc

    model = build(lambda pp: pp.sample("loc", pp.dist.Normal(0.0, 1.0)), law)
    with pytest.raises(InferenceError) as failure:
        run(model, data, seed=0, batch_size=2, window=10, warm_up=2, validation=0.0)
    message = str(failure.value)
    assert "in epoch 1, batch 1 of" in message
    assert "the first term that is not finite (-inf) is at series" in message
    assert "Lower `learning_rate`" in message


def test_the_row_of_a_bad_term_is_that_of_the_data(models):
    values = np.zeros((3, 40, 1))
    values[1, 23] = 1e149
    data = Trajectories.from_arrays(np.arange(40.0), values, series=["a", "b", "c"])

    class Odd(type(models["conjugate"])):
        """Its terms overflow where a value is huge."""

        def process(self, sites, context):
            return _Overflow(sites["loc"][..., None])

    with pytest.raises(InferenceError, match=r"series 'b', row 23, in the window of rows \d+ to \d+"):
        run(Odd(), data, seed=0, batch_size=20, window=10, warm_up=3, validation=0.0)


class _Overflow(AbstractProcess):
    def __init__(self, loc):
        self.loc = loc

    def log_prob_steps(self, observations):
        values = asarray_like(observations.values, self.loc)[..., 0]
        return -((values * values * 1e20) ** 2) + self.loc


def test_a_law_without_a_density_is_refused_with_its_place(models, noise):
    with pytest.raises(InferenceError, match=r"in epoch 1, batch 1 of 1 \(step 1\), of series"):
        run(models["singular"], noise, seed=0)


def test_networks_train_in_mixed_precision_close_to_full(many):
    options: dict[str, Any] = {**SMALL, "dtype": "float32", "num_epochs": 10}
    full = run(Neural(), many, **options)
    mixed = run(Neural(), many, **options, precision="bf16")
    assert extra_of(mixed)["validation_loss"] == pytest.approx(extra_of(full)["validation_loss"], rel=0.02)
    assert extra_of(mixed)["validation_loss"] != extra_of(full)["validation_loss"]


def test_mixed_precision_without_a_network_is_refused(models, noise):
    with pytest.raises(ArgumentError, match=r"`precision` 'bf16' has nothing to act on.*network_precision"):
        run(models["conjugate"], noise, seed=0, dtype="float32", precision="bf16")


def test_a_model_without_pyro_is_refused_with_what_would_work(build, noise):
    model = build(
        lambda pp: pp.sample("loc", pp.dist.Normal(0.0, 1.0)), lambda sites: (sites["loc"], 1.0), languages=("numpyro",)
    )
    with pytest.raises(CapabilityError, match=r"runs under Pyro.*numpyro only\. Use 'map' or 'svi'"):
        run(model, noise, seed=0)


def test_constants_are_computed_from_what_is_learned_from(models):
    values = np.random.default_rng(0).normal(size=(1, 100, 1))
    values[:, 80:] += 50.0
    data = Trajectories.from_arrays(np.arange(100.0), values)
    fit = run(models["autoregression"], data, seed=0, num_epochs=1, validation=0.2)
    assert fit.context["location"] == pytest.approx(values[:, :80].mean())
    whole = run(models["autoregression"], data, seed=0, num_epochs=1, validation=0.0)
    assert whole.context["location"] == pytest.approx(values.mean())
    # The data that come with the fit are whole: predictions condition on all of them.
    assert fit.data.equals(data)


def test_a_draw_of_the_prior_is_another_start(models, ragged):
    options: dict[str, Any] = {"seed": 0, "num_steps": 1, "learning_rate": 1e-12, "validation": 0.0}
    medians = run(models["autoregression"], ragged, **options)
    drawn = run(models["autoregression"], ragged, **options, start="draw")
    assert values_of(medians)["slope"] != pytest.approx(values_of(drawn)["slope"], abs=1e-3)


def test_the_result_is_saved_and_asked_like_any_other(tmp_path):
    data = autoregressions((40, 30, 35), missing=0.1)
    model = dp.load_model("filtering/local-level")
    fit = dp.fit(model, data, "train", seed=0, num_epochs=20, batch_size=2, learning_rate=0.05, split="time")
    path = tmp_path / "fit.nc"
    fit.save(path)
    again = dp.load_posterior(path)
    assert (dp.forecast(again, 3).mean == dp.forecast(fit, 3).mean).all()
    assert again.provenance["method"] == "train"
    assert again.provenance["extra"]["history"] == extra_of(fit)["history"]
    assert json.loads(json.dumps(extra_of(fit)["options"]))["batch_size"] == 2


def test_a_model_may_be_trained_by_default(many):
    class Trained(Neural):
        @property
        def default_inference(self):
            return "train"

    fit = dp.fit(Trained(), many, num_epochs=1)
    assert fit.provenance["method"] == "train"


def test_nothing_leaks_out_of_a_training(many):
    before, dtype = torch.random.get_rng_state(), torch.get_default_dtype()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(Neural(), many, seed=0, num_epochs=1, dtype="float32")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_default_dtype() == dtype
