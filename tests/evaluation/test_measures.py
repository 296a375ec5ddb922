"""The catalogue and the judgement's types: one name for one number, and the same JSON back."""

import json
from dataclasses import replace

import pytest

from recombine.evaluation.judgement import Edits, EditScores, Information, Judgement, PartScores, PartSwaps
from recombine.evaluation.measures import COMPARED, MEASURES, shown, shown_interval
from recombine.metrics.intervals import Estimate, SeedEstimate, over_seeds, pooled


def number(value, half=0.01, n=100):
    return {"value": value, "n": n, "low": value - half, "high": value + half}


PLAIN = {
    "split": "val", "pictures": 40, "of": 50, "seed": 0, "fingerprint": "f", "on_training_data": False, "goes_with": {},
    "carries": {"pose": ["mouth", "gaze"], "appearance": ["hair"]},
    "parts": {
        "all": {"success": number(0.5), "kept": number(0.9)},
        "parts": {
            "pose": {"success": {**number(0.4), "pictures": 30}, "kept": number(0.8), "attributes": {"mouth": number(0.2), "gaze": number(0.6)}},
            "appearance": {"success": number(0.7), "kept": number(1.0), "attributes": {"hair": number(0.7)}},
        },
    },
    "information": {**number(1.5), "between": [["pose"], ["appearance"]], "learnt_from": 90},
    "left_out": {"truth": "photographs"}, "seconds": {"parts": 1.5},
}  # fmt: skip


def test_a_judgement_comes_back_from_json_as_it_was():
    judgement = Judgement.from_json(PLAIN)
    assert judgement.to_json() == PLAIN
    assert judgement.parts.parts["pose"].success == Estimate(0.4, 0.4 - 0.01, 0.4 + 0.01, 100, 30)
    assert judgement.information == Information(1.5, 1.49, 1.51, 100, None, (("pose",), ("appearance",)), 90)
    assert json.loads(json.dumps(judgement.to_json())) == PLAIN


def test_unknown_keys_of_other_versions_are_passed_over():
    assert Judgement.from_json({**PLAIN, "of_the_future": 1}) == Judgement.from_json(PLAIN)


def test_a_number_without_an_interval_is_its_own():
    assert Judgement.from_json({"information": {"value": 2.0}}).information == Information(2.0, 2.0, 2.0, 0)


def test_every_title_and_definition_stands_once():
    assert len({measure.title for measure in MEASURES.values()}) == len({m.definition for m in MEASURES.values()}) == len(MEASURES)
    for measure in MEASURES.values():
        assert measure.definition.endswith(".") and measure.source, measure.key
    assert {measure.key for measure in COMPARED if measure.headline} == {"success", "kept", "psnr_db", "leakage", "reconstruction_db"}


def test_what_was_not_measured_has_no_value_and_a_reason():
    judgement = Judgement.from_json(PLAIN)
    for key in MEASURES.keys() - {"success", "kept", "information"}:
        assert MEASURES[key].read(judgement) is None, key
    assert MEASURES["edit_psnr_db"].reason(judgement) == "photographs"
    assert MEASURES["ssim"].reason(judgement) == "it was not asked for"


def test_a_measure_is_narrowed_to_the_compared_attributes():
    judgement, success = Judgement.from_json(PLAIN), MEASURES["success"]
    assert success.of(judgement).value == success.of(judgement, ["mouth", "gaze", "hair"]).value == 0.5
    assert success.of(judgement, ["mouth", "hair"]).value == pytest.approx((0.2 + 0.7) / 2)
    assert MEASURES["kept"].of(judgement, ["gaze"]).value == 0.8, "of the part that carries it"
    assert MEASURES["information"].of(judgement, ["gaze"]).value == 1.5, "cannot be narrowed"


def test_edits_speak_for_attributes_and_parts():
    half = Estimate(0.5, 0.4, 0.6, 10)
    scores = EditScores(success=half, preserved=replace(half, value=0.6))
    judgement = Judgement(edits=Edits(scores, {"mouth": scores}), parts=PartSwaps(PartScores(half), {"mouth": PartScores(half)}))
    assert MEASURES["edit_success"].by_attribute(judgement) == {"mouth": half}
    assert MEASURES["edit_kept"].read(judgement).value == 0.6
    assert MEASURES["success"].by_part(judgement) == {"mouth": half}


def test_values_are_shown_with_their_unit_once():
    assert (shown(0.5, "%"), shown(21.57, "dB"), shown(1.5, "nats"), shown(0.1234, "")) == ("50.0 %", "21.6 dB", "1.500 nats", "0.123")
    assert shown_interval(Estimate(20.0, 19.0, 21.0, 5), "dB") == "19.0 to 21.0 dB"


def test_intervals_join_seeds_and_images():
    found = [Estimate(v, v - 0.03, v + 0.04, n) for v, n in ((0.4, 100), (0.6, 90))]
    joined = over_seeds(found)
    between = 12.7062 * (0.02**0.5) / 2**0.5  # t(0.975; 1), deviation of 0.4 and 0.6
    assert (joined.value, joined.n, joined.seeds, joined.values) == (pytest.approx(0.5), 90, 2, (0.4, 0.6))
    assert joined.low == pytest.approx(0.5 - (between**2 + 0.03**2) ** 0.5, abs=1e-4)
    assert joined.high == pytest.approx(0.5 + (between**2 + 0.04**2) ** 0.5, abs=1e-4)
    bounded = over_seeds(found, bounded=True)
    assert (bounded.low, bounded.high) == (0, 1)
    alone = over_seeds(found[:1])
    assert (alone.low, alone.high) == (pytest.approx(0.37), pytest.approx(0.44)) and isinstance(alone, SeedEstimate)
    assert (alone.value, alone.n, alone.seeds, alone.values) == (0.4, 100, 1, (0.4,))


def test_pooled_intervals_are_as_wide_as_the_single_ones_on_average():
    found = pooled([Estimate(0.2, 0.1, 0.3, 50), Estimate(0.4, 0.3, 0.5, 40)])
    assert (found.value, found.low, found.high, found.n) == (pytest.approx(0.3), pytest.approx(0.2), pytest.approx(0.4), 40)
