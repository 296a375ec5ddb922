"""Writes `measures.md` from the catalogue of measures: .venv/bin/python docs/measures.py."""

from pathlib import Path

from recombine.evaluation.measures import MEASURES, Measure

HEAD = """\
# Measures

Every number of a judgement, in the order of the catalogue ([measures.py](../recombine/evaluation/measures.py)); this page
is written by `python docs/measures.py`. Each is an estimate: a value, its 95 % interval and n. Shares have the Wilson
interval, means a bootstrap over images, means over seeds Student's t joined with the spread of the images
([intervals.py](../recombine/metrics/intervals.py)). The key is the name in tables and files. "The classifier" is one
trained on the labels of the same data set, independent of every method; no number that it gives says more than
`classifier_accuracy` allows.
"""
DIRECTION = {"higher": "higher is better", "lower": "lower is better", "": "no direction"}
LIMITS = {  # key -> what the number can and cannot tell
    "success": "Tells whether the part carries its attributes into another image; not whether anything else survived: a method "
    "that repaints the whole image succeeds, so read it beside `kept`.",
    "kept": "Tells what a swap leaves alone among the labelled attributes; not what it does to the unlabelled rest, and a "
    "method that changes nothing preserves everything.",
    "psnr_db": "Tells how near a swap is to its one true image, pixel by pixel; only on synthetic data, and a blurred image "
    "can beat a sharp one that is slightly shifted.",
    "leakage": "Tells that information is in a part when it is above 0; near 0 it tells only that this probe did not find it "
    "in so many training codes, and a part that holds nothing at all leaks nothing, too.",
    "information": "Tells of dependence of any form between parts, of labelled content or not; too low for few images, and "
    "for dependence that the classifier of pairs cannot learn.",
    "reconstruction_db": "Tells what the codes hold of an image; not whether they are taken apart, and not whether it looks "
    "sharp.",
    "ssim": "Tells of local structure where PSNR averages over all pixels; not of identity or of any attribute.",
    "edit_success": "Tells whether a label has an effect in the target's direction; not whether the image stays realistic or "
    "the same person.",
    "edit_kept": "Tells what a label edit leaves alone among the labelled attributes; compare with the same number of "
    "unedited reconstructions, since reconstruction alone costs some.",
    "edit_psnr_db": "Tells how near an edit is to its one true image; only on synthetic data, to be compared with "
    "`edit_original_db`.",
    "frechet": "Tells how far the distribution of swaps is from real images; not of single images, and biased upwards by "
    "small n, so it compares only at the same extractor and n.",
    "kid": "Tells the same as the Fréchet distance without its bias for few images; its scale means nothing between "
    "extractors.",
    "mig": "Tells whether each factor stands in one number of the codes; low for codes that spread an attribute over a vector "
    "or map on purpose, as most methods here do.",
    "sap": "As MIG by linear reading; it cannot tell a part that is well separated but wider than one number.",
    "dci": "Tells whether single numbers of the codes mix factors; not whether whole parts do.",
    "dci_completeness": "Tells whether a factor needs several numbers of the codes, which is no fault of a code that is a "
    "vector on purpose.",
    "leakage_linear": "Tells what a linear reading finds, which is what linear adversaries remove; information that is folded "
    "up non-linearly stays unseen.",
    "entropy": "Tells how unsure linear probes are, graded where accuracy stays at the majority rate; a probe that is sure and "
    "wrong counts as leakage here.",
    "mse": "Tells what PSNR tells, before the logarithm; the mean is led by the worst images.",
    "lpips": "Tells of perceived similarity as far as the given network has it; not comparable between networks, and not "
    "measured where its weights are absent.",
    "sensitivity": "Tells that the decoder uses a label; not that it uses it rightly. The first sign of a training whose label "
    "is ignored.",
    "edit_original_db": "A reference, not a score: an edit below it is farther from the truth than no edit.",
    "swap_original_db": "A reference, not a score: a swap below it is farther from the truth than no swap.",
    "frechet_reconstructed": "A reference for `frechet`: what encoding and decoding costs without any swap.",
    "kid_reconstructed": "A reference for `kid`: what encoding and decoding costs without any swap.",
    "frechet_real": "A reference for `frechet`: a distance as small as this cannot be told from real images at this n.",
    "kid_real": "A reference for `kid`: what lies between training and judged images, whatever n.",
    "classifier_accuracy": "Tells how far the classifier can be trusted on real images; on edited ones, which it was not "
    "trained on, it may err more.",
    "identity_kept": "Tells whether the verifier still recognises the group; only as sharp as `identity_verifier`, which "
    "should be read first.",
    "identity_verifier": "A reference for `identity_kept`: a verifier near 50 % makes that number empty.",
    "verification": "Tells how well one part separates groups by distance; the best part of several is chosen on the same "
    "pairs, so it flatters methods with many parts.",
    "retrieval_map": "Tells how well a part orders a whole gallery; it falls with the size of the gallery, so it compares "
    "only on the same images.",
    "retrieval_top1": "Tells whether the one nearest image is right; easier the more images a group has.",
}


def section(measure: Measure) -> str:
    """One measure."""
    direction = f"in {measure.unit}, {DIRECTION[measure.better]}" if measure.unit else DIRECTION[measure.better]
    facts = f"{direction[0].upper()}{direction[1:]}. Source: {measure.source}"
    return "\n\n".join([f"## `{measure.key}`: {measure.title}", measure.definition, LIMITS[measure.key], facts])


def page() -> str:
    """The whole page."""
    return "\n\n".join([HEAD.rstrip(), *map(section, MEASURES.values())]) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "measures.md").write_text(page(), encoding="utf-8")
