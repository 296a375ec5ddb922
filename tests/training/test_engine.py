"""The engine: exact resume, micro-batches and processes, players kept apart, and every way to stop."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from games import parameters
from safetensors.torch import load_file
from toy_game import ToyGame
from two_processes import EARLY, level, train

from recombine import files, locks
from recombine.data.samplers import Pairs
from recombine.method import Phase
from recombine.methods.ifcvaegan import Config, IFcVAEGAN
from recombine.training import checkpoint
from recombine.training import engine as training
from recombine.training.engine import Diverged, Interrupted, TrainConfig, fit
from recombine.training.players import flat_states

SHORT = TrainConfig(images=20 * 16, batch_size=16, mirror=True, ema_images=64, log_every=64, evaluate_every=160)


@pytest.fixture(autouse=True)
def _fabric_says_nothing():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric")
        yield


def toy(signs, **options):
    torch.manual_seed(0)
    return ToyGame(signs.schema, **options)


def ifcvaegan(signs):
    torch.manual_seed(0)
    return IFcVAEGAN(Config(width=4, num_latents=6, aux_width=16), signs.schema)


def weights(run):
    """Everything a training left, by file and name."""
    newest = checkpoint.newest_resume(run)
    return {f"{stem}/{name}": value for stem, tensors in newest.tensors.items() for name, value in tensors.items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def stop_at(images, number=signal.SIGINT):
    """A monitor that asks the training to stop at its evaluation after so many images."""

    def monitor(method, path):
        if int(path.stem) == images:
            os.kill(os.getpid(), number)
        return {"looked": 1.0}

    return monitor


@pytest.mark.parametrize("make", [toy, ifcvaegan])
def test_stopping_and_going_on_leaves_the_same_bits(signs, tmp_path, make):
    pack = signs.select("lamp")
    fit(make(pack), pack, SHORT, tmp_path / "whole", quiet=True)
    with pytest.raises(Interrupted, match=r"stopped after 176 of 320 images.*the same command again goes on"):
        fit(make(pack), pack, SHORT, tmp_path / "parts", monitor=stop_at(160), quiet=True)
    fit(make(pack), pack, SHORT, tmp_path / "parts", quiet=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    whole, parts = (load_file(tmp_path / name / "model" / "weights.safetensors") for name in ("whole", "parts"))
    assert_same(whole, parts)
    states = [checkpoint.newest_resume(tmp_path / name).state for name in ("whole", "parts")]
    assert states[0] == states[1] and states[0]["images_seen"] == 320


def test_going_on_after_the_end_changes_nothing(signs, tmp_path):
    fit(toy(signs), signs, SHORT, tmp_path, quiet=True)
    before = weights(tmp_path)
    fit(toy(signs), signs, SHORT, tmp_path, quiet=True)
    assert_same(before, weights(tmp_path))


def test_processes_that_find_other_checkpoints_do_not_go_on(signs, tmp_path, monkeypatch):
    fit(toy(signs), signs, SHORT, tmp_path, quiet=True)
    monkeypatch.setattr(training.Fabric, "broadcast", lambda fabric, own: 0)  # what the first process found
    with pytest.raises(RuntimeError, match=r"first process goes on after 0 images, process 0 after 320.*a disk that all machines share"):
        fit(toy(signs), signs, SHORT, tmp_path, quiet=True)


def test_seed_decides_the_end(signs, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(toy(signs), signs, replace(SHORT, seed=seed), tmp_path / name, quiet=True)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert_same(a, b)
    assert not torch.equal(a["weights/encoder.0.weight"], c["weights/encoder.0.weight"])


def largest_difference(first, second):
    assert first.keys() == second.keys()
    return max((first[name].double() - second[name].double()).abs().max().item() for name in first)


def gradients(run):
    """What the optimisers keep of the first step's gradients, by player."""
    players = checkpoint.newest_resume(run).tensors.items()
    return {stem: torch.cat([v.flatten() for _, v in sorted(kept.items()) if v.ndim]) for stem, kept in players if stem.startswith("optimizer")}


def largest_share(first, second):
    assert first.keys() == second.keys()
    return max(((first[name] - second[name]).norm() / second[name].norm()).item() for name in first)


def test_microbatches_give_the_weights_of_one_batch(signs, tmp_path):
    pack = signs.select("lamp")
    train("toy", pack, tmp_path / "one")
    train("toy", pack, tmp_path / "four", accumulate=4)
    assert largest_difference(weights(tmp_path / "one"), weights(tmp_path / "four")) < 1e-7


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(signs, tmp_path):
    # Batch normalisation, two critic calls in one backward, gradient penalty with double backward, micro-batches, the average.
    script = [str(Path(__file__).parents[1] / "two_processes.py"), str(signs.path), str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", *script]
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    for run, which in (("toy-norm", "toy-norm"), ("ifcvaegan", "ifcvaegan"), ("toy-microbatches", "toy")):
        train(which, signs.select("lamp"), tmp_path / "one" / run)
        assert largest_difference(weights(tmp_path / "one" / run), weights(tmp_path / "two" / run)) < 1e-7, run
    train("toy", signs.select("lamp"), tmp_path / "one" / "level", monitor=level, **EARLY)
    one, two = tmp_path / "one" / "level", tmp_path / "two" / "toy-level"
    assert largest_difference(weights(one), weights(two)) < 1e-7
    assert checkpoint.newest_resume(one).state["end"] == checkpoint.newest_resume(two).state["end"] < 160
    assert events(one, "plateau") == events(two, "plateau") and events(one, "kept") == events(two, "kept")
    lowered, full = (tmp_path / "one" / precision for precision in ("bf16-mixed", "32-true"))
    for run in (lowered, full):             # one step, beyond which rounding decides where the training goes
        train("ifcvaegan", signs.select("lamp"), run, precision=run.name, steps=1)
    rounding = largest_share(gradients(lowered), gradients(full))  # .005
    assert largest_share(gradients(tmp_path / "two" / "ifcvaegan-bf16"), gradients(lowered)) < 3 * rounding < 0.05


def test_a_turn_changes_its_own_player_alone(signs, tmp_path):
    method = toy(signs)
    before = [weight.clone() for weight in parameters(method, "encoder", "decoder")]
    fit(method, signs, replace(SHORT, images=16, ema_images=0), tmp_path, quiet=True)  # the first phase: the critic alone
    after = parameters(method, "encoder", "decoder")
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    fresh = toy(signs)
    changed = [not torch.equal(a, b) for a, b in zip(parameters(fresh, "critic"), parameters(method, "critic"), strict=True)]
    assert changed == [True, True, True, False]  # the last bias cancels between real and fake


def test_phases_freeze_and_release(signs, tmp_path):
    method = toy(signs, norm=True)
    fit(method, signs, SHORT, tmp_path, quiet=True)
    first, rest = method.seen[:5], method.seen[5:]
    assert set(first) == {("critic only", False, False)}
    assert set(rest) == {("both", True, True)} and len(rest) == 15


def test_batch_statistics_stay_in_a_frozen_phase(signs, tmp_path):
    method = toy(signs, norm=True)
    fit(method, signs, replace(SHORT, images=64), tmp_path, quiet=True)  # 16 of 64 images are the first phase
    frozen = toy(signs, norm=True)
    frozen.phases = lambda: [training.Phase("critic only", frozen=("encoder", "decoder"))]
    fit(frozen, signs, replace(SHORT, images=64), tmp_path / "frozen", quiet=True)
    assert frozen.encoder.state_dict()["1.num_batches_tracked"] == 0
    assert method.encoder.state_dict()["1.num_batches_tracked"] == 6  # two calls in each of three steps


def test_controllers_move_and_are_saved(signs, tmp_path):
    method = toy(signs)
    fit(method, signs, SHORT, tmp_path, quiet=True)
    saved = checkpoint.newest_resume(tmp_path).state["controllers"]
    assert saved == method.controllers and saved["penalty"] != 1.0


def test_nan_stops_before_the_weights(signs, tmp_path):
    with pytest.raises(Diverged, match=r"3 steps in a row.*autoencoder/rec is inf after .* images, in a batch with \d+\.png.*nothing had been saved"):
        fit(toy(signs, bad_from=0), signs, SHORT, tmp_path, quiet=True)
    assert checkpoint.newest_resume(tmp_path) is None


def test_nan_goes_back_to_the_checkpoint_and_then_gives_up(signs, tmp_path):
    config = replace(SHORT, save_seconds=0)
    with pytest.raises(Diverged, match=r"the newest checkpoint in .* is untouched; try a lower learning rate"):
        fit(toy(signs, bad_from=200), signs, config, tmp_path, quiet=True)
    events = [line["event"] for line in log(tmp_path) if "event" in line]
    assert events.count("rolled back") == config.rollbacks
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_one_bad_step_is_left_out(signs, tmp_path):
    method = toy(signs, bad_from=160, bad_until=161, norm=True)
    fit(method, signs, SHORT, tmp_path, quiet=True)
    events = [line for line in log(tmp_path) if line.get("event", "precision") != "precision"]
    assert [event["event"] for event in events] == ["skipped"]
    assert "autoencoder/rec is inf" in events[0]["text"] and "the step was not taken" in events[0]["text"]
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_full_disk_costs_the_attempt_alone(signs, tmp_path, monkeypatch):
    full, write = [True, True], checkpoint.save_resume

    def save(run, step, tensors, state):
        if full:
            full.pop()
            raise files.SaveFailed(Path(run), 1 << 20, 0, OSError(28, "No space left on device"))
        write(run, step, tensors, state)

    monkeypatch.setattr(checkpoint, "save_resume", save)
    fit(toy(signs), signs, replace(SHORT, save_seconds=0), tmp_path, quiet=True)
    events = [line for line in log(tmp_path) if line.get("event", "precision") != "precision"]
    assert [event["event"] for event in events] == ["save failed"]
    assert "No space left on device" in events[0]["text"] and "tries again" in events[0]["text"]
    assert checkpoint.newest_resume(tmp_path).step_images == 320


def test_slow_checkpoints_come_less_often(signs, tmp_path):
    config = replace(SHORT, save_seconds=60)
    running = training.Training(training.launch(config), toy(signs), signs, config, tmp_path, {}, quiet=True)
    for took, waited, due in ((0.0, 59, False), (0.0, 61, True), (12.0, 61, False), (12.0, 481, True)):
        running.save_took, running.saved_at = took, time.monotonic() - waited
        assert running.agree([]) == (0, due), (took, waited)
    running.reader.close()


def test_disk_that_stays_full_is_an_error_at_the_end(signs, tmp_path, monkeypatch):
    def save(run, step, tensors, state):
        raise files.SaveFailed(Path(run), 1 << 20, 0, OSError(28, "No space left on device"))

    monkeypatch.setattr(checkpoint, "save_resume", save)
    with pytest.raises(files.CannotWrite, match="nothing could be saved"):
        fit(toy(signs), signs, SHORT, tmp_path, quiet=True)


def test_read_only_folder_is_found_before_anything_else(signs, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OSError, match="file"):
        fit(toy(signs), signs, SHORT, blocked / "run", quiet=True)


def test_second_run_in_the_same_folder_is_refused(signs, tmp_path):
    with locks.lock(tmp_path):
        with pytest.raises(locks.Locked, match=str(os.getpid())):
            fit(toy(signs), signs, SHORT, tmp_path, quiet=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_other_signals_save_too(signs, tmp_path, number):
    with pytest.raises(Interrupted) as stopped:
        fit(toy(signs), signs, SHORT, tmp_path, monitor=stop_at(0, number), quiet=True)
    assert stopped.value.signal_number == number
    assert checkpoint.newest_resume(tmp_path).step_images == 16


def test_signals_are_given_back(signs, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    fit(toy(signs), signs, replace(SHORT, images=16), tmp_path, quiet=True)
    assert signal.getsignal(signal.SIGINT) is before


def test_second_interrupt_stops_at_once(signs, tmp_path):
    def twice(method, path):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    with pytest.raises(KeyboardInterrupt):
        fit(toy(signs), signs, SHORT, tmp_path, monitor=twice, quiet=True)


def test_log_names_the_terms_of_the_paper(signs, tmp_path):
    pack = signs.select("lamp")
    fit(ifcvaegan(pack), pack, SHORT, tmp_path, monitor=stop_at(-1), quiet=True)
    lines = log(tmp_path)
    terms = next(line for line in lines if "autoencoder/rec" in line)
    assert {"autoencoder/kl", "autoencoder/aux", "aux/aux", "critic/gan", "gradient_norm/critic", "critic_accuracy", "learning_rate"} <= terms.keys()
    assert [line["images"] for line in lines if "looked" in line] == [0, 160, 320]
    assert any(line.get("images_per_second", 0) > 0 for line in lines)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_log_forgets_what_a_crash_gave_up(signs, tmp_path):
    with pytest.raises(Interrupted):
        fit(toy(signs), signs, SHORT, tmp_path, monitor=stop_at(160), quiet=True)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"images": 300, "lost": 1}\n{"images": 30')
    fit(toy(signs), signs, SHORT, tmp_path, quiet=True)
    assert not any("lost" in line for line in log(tmp_path))


def test_learning_rate_falls_at_the_end(signs, tmp_path):
    fit(toy(signs), signs, replace(SHORT, decay=0.5, log_every=16), tmp_path, quiet=True)
    rates = {line["images"]: line["learning_rate"] for line in log(tmp_path) if "learning_rate" in line}
    assert rates[160] == 1.0 and rates[240] == pytest.approx(0.5) and rates[320] == 0.0


def test_a_phase_has_its_own_rate(signs, tmp_path):
    class Quick(ToyGame):
        def phases(self):
            return [replace(phase, rate=4.0 if phase.frozen else 1.0) for phase in super().phases()]

        def optimizer(self, player, parameters):
            made = super().optimizer(player, parameters)
            made.register_step_pre_hook(lambda optimizer, *_: used.append((player, optimizer.param_groups[0]["lr"])))
            return made

    used = []
    fit(Quick(signs.schema), signs, replace(SHORT, decay=0.5, log_every=16), tmp_path, quiet=True)
    assert used[:5] == [("critic", 0.04)] * 5
    assert used[5:7] == [("autoencoder", 0.01), ("critic", 0.01)] and used[-1] == ("critic", pytest.approx(0.001))
    rates = {line["images"]: line["learning_rate"] for line in log(tmp_path) if "learning_rate" in line}
    assert rates[64] == 4.0 and rates[80] == 1.0 and rates[240] == pytest.approx(0.5)


def timed(paces, evaluation=0.0):
    """A training whose steps and evaluations take known times."""

    class Timed(training.Training):
        def pace(self, place):
            return paces[place]

        def longest(self, seconds):
            return evaluation

    return Timed


def test_time_decides_the_length_once(signs, tmp_path, monkeypatch):
    # A quarter of the images at .1 s each, the others at .2 s: .175 s an image; 39/40 of a minute suffice for 334, 20 batches.
    pack, config = signs.select("lamp"), replace(SHORT, minutes=1.0, images=7, decay=0.5)
    monkeypatch.setattr(training, "Training", timed([0.1, 0.2]))
    fit(toy(pack), pack, config, tmp_path / "whole", quiet=True)
    state = checkpoint.newest_resume(tmp_path / "whole").state
    assert (state["images_seen"], state["images"], state["minutes"]) == (320, 320, 1.0)
    events = [line["text"] for line in log(tmp_path / "whole") if line.get("event") == "length"]
    assert len(events) == 1
    assert events[0].startswith("320 images, at 10 images/s in critic only, 5 images/s in both, are to take 1 minutes")
    with pytest.raises(Interrupted, match=r"stopped after 176 of 320 images"):
        fit(toy(pack), pack, config, tmp_path / "parts", monitor=stop_at(160), quiet=True)
    monkeypatch.setattr(training, "Training", timed([9.0, 9.0]))  # not asked again
    fit(toy(pack), pack, config, tmp_path / "parts", quiet=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert checkpoint.newest_resume(tmp_path / "parts").state == state
    fit(toy(pack), pack, replace(SHORT, decay=0.5), tmp_path / "by-images", quiet=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "by-images"))


def test_evaluations_are_spread_and_passes_bound_the_length_that_a_time_decides(signs, tmp_path, monkeypatch):
    # At .175 s an image, 39/40 of a minute suffice for 334 images, 20 batches.
    def watching(method, path):
        asked.append(int(path.stem))
        return {}

    asked, train = [], len(signs.rows("train"))
    monkeypatch.setattr(training, "Training", timed([0.1, 0.2]))
    config = replace(SHORT, minutes=1.0, evaluations=4, evaluate_every=7)
    fit(toy(signs), signs, config, tmp_path / "spread", monitor=watching, quiet=True)
    assert asked == [0, 0, 80, 160, 240, 320]  # one of the first two is to measure how long it takes
    fit(toy(signs), signs, replace(config, passes=100 / train), tmp_path / "once", quiet=True)
    assert checkpoint.newest_resume(tmp_path / "once").step_images == 96
    (event,) = [line["text"] for line in log(tmp_path / "once") if line.get("event") == "length"]
    assert event.startswith("96 images, at 10 images/s in critic only, 5 images/s in both, are to take less than 1 minutes, as ")
    fit(toy(signs), signs, replace(config, minutes=2.0, passes=130 / train), tmp_path / "once", quiet=True)
    assert checkpoint.newest_resume(tmp_path / "once").step_images == 128
    fit(toy(signs), signs, replace(config, passes=1000.0), tmp_path / "unbounded", quiet=True)
    assert checkpoint.newest_resume(tmp_path / "unbounded").step_images == 320
    asked.clear()
    fit(toy(signs), signs, replace(SHORT, evaluations=4), tmp_path / "by-images", monitor=watching, quiet=True)
    assert asked == [0, 160, 320]


def test_measuring_the_speed_leaves_no_trace(signs, tmp_path, monkeypatch):
    pack = signs.select("lamp")
    monkeypatch.setattr(training, "images_in", lambda *_: 320)
    for norm in (False, True):
        torch.manual_seed(0)
        fit(ToyGame(pack.schema, norm=norm), pack, replace(SHORT, minutes=1e-3, accumulate=2), tmp_path / f"timed-{norm}", quiet=True)
        torch.manual_seed(0)
        fit(ToyGame(pack.schema, norm=norm), pack, replace(SHORT, accumulate=2), tmp_path / f"untimed-{norm}", quiet=True)
        assert_same(weights(tmp_path / f"timed-{norm}"), weights(tmp_path / f"untimed-{norm}"))


def test_another_time_changes_the_length_of_a_training_that_goes_on(signs, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "Training", timed([0.1, 0.2]))
    fit(toy(signs), signs, replace(SHORT, minutes=0.5), tmp_path, quiet=True)
    assert checkpoint.newest_resume(tmp_path).step_images == 160
    fit(toy(signs), signs, replace(SHORT, minutes=1.0), tmp_path, quiet=True)
    assert checkpoint.newest_resume(tmp_path).step_images == 320
    fit(toy(signs), signs, replace(SHORT, images=400), tmp_path, quiet=True)
    assert checkpoint.newest_resume(tmp_path).step_images == 400


def test_a_training_that_took_longer_says_so(signs, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "images_in", lambda *_: 320)
    fit(toy(signs), signs, replace(SHORT, minutes=1e-5), tmp_path, quiet=True)
    events = [line["text"] for line in log(tmp_path) if line.get("event") == "length"]
    assert len(events) == 2 and re.match(r"the training took .* minutes in place of 1e-05: the machine was slower", events[1])


def test_each_phase_is_measured_on_its_own_steps(signs, tmp_path):
    method, config = toy(signs), replace(SHORT, minutes=1e-3)
    running = training.Training(training.launch(config), method, signs, config, tmp_path, {}, quiet=True)
    assert all(running.pace(place) > 0 for place in (0, 1))
    assert [name for name, *_ in method.seen] == ["critic only"] * 4 + ["both"] * 4
    running.reader.close()


def judged(scores, stop=0, seen=None):
    """A monitor of known scores, image by image; it may ask to stop at one, and note the weights that it sees."""

    def monitor(method, path):
        images = int(path.stem)
        if stop and images == stop:
            os.kill(os.getpid(), signal.SIGINT)
        if seen is not None:
            states = {name: child.state_dict() for name, child in method.named_children()}
            seen[images] = {name: value.clone() for name, value in flat_states(states).items()}
        return {"edit_success/all": scores(images)} if scores else {"mse": 0.1}

    return monitor


def model(run):
    return load_file(run / "model" / "weights.safetensors")


def events(run, name):
    return [line["text"] for line in log(run) if line.get("event") == name]


LOOKING = replace(SHORT, evaluate_every=64, keep="best")


@pytest.mark.parametrize(
    ("scores", "kept"),
    [({64: 0.3, 128: 0.9, 192: 0.5, 256: 0.6, 320: 0.5}, 128),  # better than the end
     ({64: 0.3, 128: 0.9, 192: 0.86, 256: 0.8, 320: 0.84}, 192),  # not beyond noise, then beyond it
     ({64: 0.9, 128: 0.9, 192: 0.9, 256: 0.9, 320: 0.9}, 320),  # ties
     ({64: 0.3, 128: 0.4, 192: 0.5, 256: 0.6, 320: 0.9}, 320)],
)  # fmt: skip
def test_the_model_of_the_best_evaluation_is_kept(signs, tmp_path, scores, kept):
    for name, stop in (("whole", 0), ("parts", 192)):
        seen = {}
        for sitting in range(2 if stop else 1):
            with pytest.raises(Interrupted) if stop and not sitting else nullcontext():
                monitor = judged({0: 1.0, **scores}.get, stop * (not sitting), seen)
                fit(toy(signs), signs, LOOKING, tmp_path / name, monitor=monitor, quiet=True)
        assert_same(model(tmp_path / name), seen[kept])
        (event,) = events(tmp_path / name, "kept")
        assert event.startswith(f"the model after {kept} images; the latest that is as good as the best but for noise: 64: {scores[64]:.2f}, ")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    fit(toy(signs), signs, replace(LOOKING, keep="last"), tmp_path / "last", monitor=judged(lambda _: 0.5), quiet=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "last"))  # the training itself is the same
    fit(toy(signs), signs, replace(LOOKING, keep="last"), tmp_path / "parts", quiet=True)
    assert_same(model(tmp_path / "parts"), model(tmp_path / "last"))


def test_the_newest_model_is_kept_where_edits_are_not_judged(signs, tmp_path):
    seen = {}
    fit(toy(signs), signs, LOOKING, tmp_path, monitor=judged(None, seen=seen), quiet=True)
    assert_same(model(tmp_path), seen[320])
    assert events(tmp_path, "kept") == ["the model after 320 images; edits were not judged"]


def test_a_model_that_was_not_written_is_not_kept(signs, tmp_path, monkeypatch):
    full, write = [64], checkpoint.save_model

    def save(run, *arguments):
        if len(saved := list((tmp_path / "resume").glob("step-*"))) and full and saved[0].name.endswith("064"):
            full.pop()
            raise files.SaveFailed(Path(run), 1 << 20, 0, OSError(28, "No space left on device"))
        write(run, *arguments)

    monkeypatch.setattr(checkpoint, "save_model", save)
    scores, seen = {0: 0.0, 64: 0.9, 128: 0.5, 192: 0.4, 256: 0.4, 320: 0.4}, {}
    fit(toy(signs), signs, LOOKING, tmp_path, monitor=judged(scores.get, seen=seen), quiet=True)
    assert full == [] and events(tmp_path, "save failed")
    assert_same(model(tmp_path), seen[128])


def test_a_model_that_a_crash_left_out_is_written(signs, tmp_path):
    scores, seen = {0: 0.0, 64: 0.3, 128: 0.9, 192: 0.9, 256: 0.4, 320: 0.4}, {}
    with pytest.raises(Interrupted):
        fit(toy(signs), signs, LOOKING, tmp_path, monitor=judged(scores.get, 192, seen), quiet=True)
    shutil.rmtree(tmp_path / "resume" / "step-000000000208")  # as if it had ended while it saved 192
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(Interrupted):
        fit(toy(signs), signs, replace(LOOKING, evaluate_every=16), tmp_path, monitor=judged(lambda _: 0.0, 208), quiet=True)
    assert_same(model(tmp_path), seen[192])


LEVEL = {0: 0.0, 32: 0.3, 64: 0.6, 96: 0.7, 128: 0.73, 160: 0.6, 192: 0.74, 224: 0.72}.get  # level from 96 on
LONG = replace(SHORT, images=640, evaluate_every=32, plateau_images=96, decay=0.25, log_every=16)


def test_edits_that_do_not_get_better_end_the_training(signs, tmp_path):
    # Level since 96, seen at 192: a quarter of 256 images is the decay.
    def scores(images):
        return LEVEL(images, 0.7)

    class First(ToyGame):
        def phases(self):
            return [Phase("critic only", 1.0, frozen=("encoder", "decoder")), Phase("both", 39.0)]

    def game():
        torch.manual_seed(0)
        return First(signs.schema)

    fit(game(), signs, LONG, tmp_path / "whole", monitor=judged(scores), quiet=True)
    (event,) = events(tmp_path / "whole", "plateau")
    assert event == "edits have not become better beyond noise since 96 images: score 0.70, now 0.74; the training ends after 256 images in place of 640"
    rates = {line["images"]: line["learning_rate"] for line in log(tmp_path / "whole") if "learning_rate" in line}
    assert rates[176] == rates[192] == 1.0 and rates[224] == pytest.approx(0.5) and rates[256] == 0.0 and max(rates) == 256
    state = checkpoint.newest_resume(tmp_path / "whole").state
    assert (state["images_seen"], state["end"]) == (256, 256)
    for stop in (128, 160, 192, 224):       # the one before, at, and after the decision
        run = tmp_path / str(stop)
        with pytest.raises(Interrupted):
            fit(game(), signs, LONG, run, monitor=judged(scores, stop), quiet=True)
        fit(game(), signs, LONG, run, monitor=judged(scores), quiet=True)
        assert_same(weights(tmp_path / "whole"), weights(run))
        assert checkpoint.newest_resume(run).state == state
    fit(game(), signs, LONG, tmp_path / "whole", monitor=judged(scores), quiet=True)
    assert checkpoint.newest_resume(tmp_path / "whole").state == state, "it stays at its end"


@pytest.mark.parametrize(
    ("change", "end"),
    [({"decay": 0.0}, 304),                 # in the last phase, from 160 on, level since 192: one step more, and an evaluation
     ({"decay": 0.8}, 640),                 # which has begun
     ({"plateau_images": 0}, 640), ({"plateau_images": 400}, 640)],
)  # fmt: skip
def test_when_a_plateau_ends_a_training(signs, tmp_path, change, end):
    fit(toy(signs), signs, replace(LONG, **change), tmp_path, monitor=judged(lambda images: LEVEL(images, 0.7)), quiet=True)
    assert checkpoint.newest_resume(tmp_path).step_images == end


def test_better_edits_do_not_end_a_training(signs, tmp_path):
    fit(toy(signs), signs, LONG, tmp_path, monitor=judged(lambda images: images / 640), quiet=True)
    assert checkpoint.newest_resume(tmp_path).step_images == 640 and events(tmp_path, "plateau") == []


def test_a_climb_of_steps_within_noise_does_not_end_a_training(signs, tmp_path):
    # Each evaluation is a little better than all before, and all together are not beyond the noise of a few edits.
    def climbing(method, path):
        return {"edit_success/all": 0.5 + int(path.stem) / 6400, "edit_noise": 0.2}

    fit(toy(signs), signs, LONG, tmp_path, monitor=climbing, quiet=True)
    assert checkpoint.newest_resume(tmp_path).step_images == 640 and events(tmp_path, "plateau") == []


def test_causes_are_named_in_the_last_phase_alone(signs, tmp_path):
    # The last phase begins at 80 of 320 images, and a tenth of it ends at 104.
    def ignoring(method, path):
        asked.append(int(path.stem))
        return {"sensitivity": 0.0}

    asked = []
    fit(toy(signs), signs, replace(SHORT, evaluate_every=16), tmp_path, monitor=ignoring, quiet=True)
    (line,) = [line for line in log(tmp_path) if line.get("event") == "decoder ignores the labels"]
    assert {48, 80, 96, 112} < set(asked) and line["images"] == 112


def test_average_follows_the_weights(signs, tmp_path):
    method = toy(signs)
    fit(method, signs, SHORT, tmp_path, quiet=True)
    found = checkpoint.newest_resume(tmp_path).tensors
    gap = (found["average"]["decoder.0.weight"] - found["weights"]["decoder.0.weight"]).abs().max()
    start = (found["average"]["decoder.0.weight"] - toy(signs).decoder[0].weight).abs().max()
    assert 0 < gap < start
    saved = load_file(tmp_path / "model" / "weights.safetensors")
    assert torch.equal(saved["decoder.0.weight"], found["average"]["decoder.0.weight"])


def test_settings_that_cannot_work():
    with pytest.raises(ValueError, match="batch_size 10 must be a multiple of accumulate 3"):
        TrainConfig(batch_size=10, accumulate=3)
    with pytest.raises(ValueError, match="images must be at least 1, not 0"):
        TrainConfig(images=0)
    with pytest.raises(ValueError, match="'16-mixed' loses small gradients"):
        TrainConfig(precision="16-mixed")


def test_checkpoint_of_another_method_is_refused(signs, tmp_path):
    fit(toy(signs), signs, SHORT, tmp_path, settings={"method": "toy", "config": {"norm": False}}, quiet=True)
    with pytest.raises(checkpoint.Incompatible, match=r"is of toy, this model of other.*norm"):
        fit(toy(signs), signs, SHORT, tmp_path, settings={"method": "other", "config": {"norm": True}}, quiet=True)



def test_pictures_that_form_no_pair_are_counted_and_said(signs, tmp_path, capsys):
    class Paired(ToyGame):
        def make_sampler(self, pack, seed, mirror):
            return Pairs(pack, "train", seed, mirror, by=["maker", "colour", "lamp", "stripes"])

    lone = Pairs(signs, "train", by=["maker", "colour", "lamp", "stripes"]).left_out
    assert lone > 0
    fit(Paired(signs.schema), signs, TrainConfig(images=16, batch_size=8), tmp_path, quiet=True)
    sentence = f"{lone} training images stand alone in their group, form no pair and are not used"
    assert sentence in (tmp_path / "log.jsonl").read_text() and sentence in " ".join(capsys.readouterr().err.split())
