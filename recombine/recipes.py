"""Recipes: functions that return a method, its data and its training; docstrings give command, time and result.

A recipe "without the key idea" is the same command with the settings named after it. Where a function takes `variant`,
these are fields of the method's Config.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recombine.data.synthetic import letters
from recombine.data.synthetic.avatars import FACTORS, NUMBERS
from recombine.methods import mad, presets
from recombine.training.recipe import Recipe, Synthetic, TrainConfig
from recombine.training.settings import config_class

FOUR = ("expression", "lighting", "glasses", "hair_color")  # attributes of the avatars on which methods are compared
DEFAULT = "splice"                          # the method of a training for which none is named
POSE = ("yaw", "pitch", "roll")             # degrees, for example from OpenFace
VARIANTS = (  # rows of Creswell et al.'s Tables 1 and 3; the presets are `small`, `small-without-aux`, ...
    "ours", "without_aux", "without_kl", "without_gan", "class_loss_on_reconstruction", "alpha_20_times",
    "uniform_guess",
)  # fmt: skip


def avatars_demo() -> Recipe:
    """IFcVAE-GAN on every factor of the avatars, 64 px: `recombine demo`. 5 min on two cores.

    Ours: 99.7 % of label edits succeed (99.5-99.8, n = 7,008), 27.8 dB against the true image, the unedited one 23.4 dB
    (n = 8,760; results/demo.json).
    """
    train = on_synthetic(60_000, log_every=1_600, evaluate_every=30_000)
    return of("ifcvaegan", "avatars-all", train, data=Synthetic(), attributes=(*FACTORS, *NUMBERS))


def celeba_table1() -> Recipe:
    """IFcVAE-GAN, Table 1: `recombine train celeba.table1 --data CELEBA`.

    Paper: MSE .028, 81 % not smiling, 100 % smiling (n = 16). Its other rows: `--preset table1-without-aux`,
    `--preset table1-class-loss-on-reconstruction`.
    """
    return on_celeba("table1")


def celeba_table3() -> Recipe:
    """IFcVAE-GAN, Tables 2 and 3: `recombine train celeba.table3 --data CELEBA`.

    Paper: MSE .011, 98 % and 100 % (n = 46). Its other rows: `--preset table3-without-kl`, and so on.
    """
    return on_celeba("table3")


def on_celeba(preset: str) -> Recipe:
    """The published settings of IFcVAE-GAN on CelebA's aligned images: 10 epochs of 202,599 images."""
    return of("ifcvaegan", preset, TrainConfig(images=2_000_000, batch_size=64, mirror=False), attributes=("Smiling",))


def lfw_smiling(variant: str = "ours", images: int = 200_000) -> Recipe:
    """Labeled Faces in the Wild, Smiling, 32 px: `recombine train lfw.smiling --data LFW40`. 25 min on two cores.

    Ours: of edits to smiling 98.8 % succeed (98.0-99.3), to not smiling 100 % (99.6-100), MSE .0134 (n = 1,037;
    results/ifcvaegan-lfw40-smiling.json). Other rows of Tables 1 and 3 are presets: `--preset small-without-aux`,
    87.4 % smiling (85.2-89.3), and the others of VARIANTS.
    """
    train = TrainConfig(images=images, batch_size=32, mirror=True, ema_images=5_000, decay=0.3, evaluate_every=20_000)
    preset = "small" if variant == "ours" else f"small-{variant.replace('_', '-')}"
    return of("ifcvaegan", preset, train, size=32, attributes=("Smiling",))


def ifcvaegan_avatars() -> Recipe:
    """Avatars, 64 px: `recombine train ifcvaegan.avatars`. 2 min on two cores.

    Ours: 90.8 % of swaps succeed (89.8-91.8, n = 3,168), others preserved 69.1 %, reconstruction 19.5 dB
    (results/five-on-avatars.json). Without the key idea, `--set aux_weight=0`: 37.2 %.
    """
    train = on_synthetic(24_000, log_every=1_600, evaluate_every=12_000)
    return of("ifcvaegan", "avatars", train, data=Synthetic(8_000), attributes=FOUR)


def ifcvaegan_letters() -> Recipe:
    """Drawn letters, 64 px: `recombine train ifcvaegan.letters`. 2 min on one core that has bfloat16.

    Ours, on combinations of values that it has not seen: 92.4 % of swaps succeed (91.4-93.3, n = 3,080), others
    preserved 93.1 %, reconstruction 21.2 dB; 82.0 % of swaps of typefaces, 98.4 % of letters.
    """
    train = on_synthetic(24_000, log_every=1_600, evaluate_every=12_000)
    return of("ifcvaegan", "avatars", train, data=Synthetic(name="letters"), attributes=tuple(letters.FACTORS))


def advattr_avatars(**variant: Any) -> Recipe:
    """Avatars, 64 px: `recombine train advattr.avatars`. 5 min on two cores.

    Ours: 77.1 % of swaps succeed (75.6-78.5, n = 3,168), others preserved 83.8 %, reconstruction 21.5 dB
    (results/five-on-avatars.json). Without the key idea, `--set dis_weight=0`: 71.1 %.
    """
    train = on_synthetic(24_000, evaluate_every=12_000)
    return of("advattr", "small", train, variant, data=Synthetic(), attributes=FOUR)


def advattr_lfw() -> Recipe:
    """Photographs, 32 px: `recombine train advattr.lfw --data LFW40`. 8 min on two cores.

    Ours, after 40,000 images: 53.4 % of swaps succeed (51.6-55.1, n = 3,111), others preserved 95.3 %
    (results/advattr-lfw40.json).
    """
    train = TrainConfig(images=60_000, batch_size=16, mirror=True, ema_images=4_000, decay=0.4, evaluate_every=20_000)
    return of("advattr", "photos", train, size=32, attributes=("Smiling", "Eyeglasses", "Gray_Hair"))


def advattr_rafd() -> Recipe:
    """RaFD as in the paper: `recombine train advattr.rafd --data RAFD --pattern rafd`.

    59 subjects x 8 expressions x 3 gazes; half of the images seen are mirrored, left and right gaze exchanged, in place
    of storing every image twice. The paper's accuracies are missing in every copy we have.
    """
    return advattr_paper(59 * 24 * 2, "expression", "gaze", mirror=True)


def advattr_bu3dfe() -> Recipe:
    """BU-3DFE: `recombine train advattr.bu3dfe --data BU3DFE --pattern bu3dfe --kind identity=categorical`.

    As in the paper: 90 subjects x 6 expressions x 4 intensities. The paper's accuracies are missing in every copy we
    have.
    """
    return advattr_paper(90 * 24, "expression", "identity")


def advattr_multipie() -> Recipe:
    """MultiPIE: `recombine train advattr.multipie --data MULTIPIE --pattern multipie --kind identity=categorical`.

    As in the paper: 147 people x 4 expressions; 20 lights, which the paper does not count. The paper's accuracies are
    missing in every copy we have.
    """
    return advattr_paper(147 * 4 * 20, "identity", "expression", "illumination")


def advattr_paper(count: int, *attributes: str, mirror: bool = False) -> Recipe:
    """The paper's networks at 128 px, batches of 16 and 75 epochs of so many images, 25 of a falling learning rate."""
    train = TrainConfig(images=75 * count, batch_size=16, mirror=mirror, decay=1 / 3, evaluate_every=10 * count)
    return of("advattr", "paper", train, size=128, attributes=attributes)


def mad_avatars() -> Recipe:
    """Avatars, 64 px: `recombine train mad.avatars`. 5 min on two cores.

    Ours, after 24,000 images: 58.6 % of swaps succeed (56.8-60.3, n = 3,168), others preserved 50.1 %, reconstruction
    16.6 dB (results/five-on-avatars.json). Without the cycle, `--set cycle_weight=0 --set augmentation_weight=0`:
    48.0 %.
    """
    return of("mad", "small", on_synthetic(32_000, evaluate_every=16_000), data=Synthetic(8_000), attributes=FOUR)


def mad_lfw(**variant: Any) -> Recipe:
    """Photographs, 32 px: `recombine train mad.lfw --data LFW40`. 7 min on two cores.

    Ours: verification by identity 77.9 % (75.2-80.4, n = 1,000 pairs), AUC of happiness .94, yaw off by 5.1 degrees
    (4.8-5.5, n = 1,037; results/mad-lfw40.json). Before the joint phase, `--images 36000 --set shares=2,1,0`: 69.0 %
    (66.1-71.8).
    """
    train = TrainConfig(images=120_000, batch_size=32, mirror=True, ema_images=5_000, decay=0.4, evaluate_every=20_000)
    return of("mad", "photos", train, variant, size=32, attributes=("identity", "expression", *POSE))


def mad_celeba() -> Recipe:
    """The paper's CelebA model: `recombine train mad.celeba --data CELEBA --data AFFECTNET --data VOXCELEB`.

    Columns: identity of CelebA and VoxCeleb, clip of VoxCeleb; expression, valence and arousal of AffectNet; yaw, pitch
    and roll of all. Paper, 128 px: RMSE 22.87 of 255, FID 17.79; verification on LFW 80.3 %, after the joint phase
    85.4 %.
    """
    return mad_paper("celeba")


def mad_vggface2() -> Recipe:
    """With VGGFace2: `recombine train mad.vggface2 --data VGGFACE2 --data AFFECTNET --data VOXCELEB`.

    As `mad.celeba`, with VGGFace2 in place of CelebA. Paper, 128 px: RMSE 21.21 of 255, FID 18.01; verification on LFW
    95.8 % after the joint phase.
    """
    return mad_paper("vggface2")


def mad_paper(preset: str) -> Recipe:
    """The paper's networks at 128 px: batches of 128, 235, 11 and 11 thousand iterations."""
    iterations = round(1000 * sum(mad.PRESETS[preset].shares))
    train = TrainConfig(images=128 * iterations, batch_size=128, mirror=True, evaluate_every=1_000_000)
    attributes = ("identity", "clip", "expression", "valence", "arousal", *POSE)
    return of("mad", preset, train, size=128, attributes=attributes)


def rodi_avatars() -> Recipe:
    """RoDi on avatars, 64 px, pairs from one clip: `recombine train rodi.avatars`. 6 min on two cores.

    Ours, after 12,000 pairs: 64.3 % of swaps succeed (63.3-65.4, n = 7,836), others preserved 65.6 %, reconstruction
    21.1 dB (results/five-on-avatars.json).
    """
    return rodi_small("clip", data=Synthetic())


def rodi_sprites(**variant: Any) -> Recipe:
    """RoDi on sprites, 64 px, pairs of one character: `recombine train rodi.sprites --data SHEETS`. 6 min on two cores.

    SHEETS is a folder of Liberated Pixel Cup sheets. Ours: MSE of transfers 0.0551 (.0548-.0554, n = 8,000),
    adversarial 0.0687, variational 0.0583 (results/rodi-sprites.json). Paper, Fig. 7, with 40 times as many steps:
    0.0026, 0.0057, 0.0069. Every row of Table 1 and mark of Fig. 7 is a preset, such as `--preset small-adversarial`;
    in Python `rodi_sprites(**VARIANTS["adversarial"])`, with `VARIANTS` from `recombine.methods.rodi`.
    """
    return rodi_small("character", **variant)


def rodi_small(group: str, data: Synthetic | None = None, **variant: Any) -> Recipe:
    """RoDi's small networks on synthetic images, pairs from one group."""
    train = on_synthetic(40_000, ema_images=1_000, log_every=1_600, evaluate_every=20_000)
    return of("rodi", "small", train, {"pair_by": (group,), **variant}, data=data, attributes=(group,))


def rodi_fig7() -> Recipe:
    """RoDi, Fig. 7, as published: `recombine train rodi.fig7 --data SHEETS`.

    Paper: MSE 0.0026, adversarial 0.0057, variational 0.0069.
    Differs from the paper: other characters than its 672.
    """
    return rodi_paper("sprites", "character", mirror=False)


def rodi_market() -> Recipe:
    """RoDi, Tables 1 and 2, Market-1501: `recombine train rodi.market --data MARKET --set vgg_weights=FILE`.

    MARKET has a group `person`. Paper: I_T' 0.1201 nats, adversarial 0.8727 (Table 1); transfers recognised with mAP
    25.4 %, adversarial 6.6 % (Table 2).
    """
    return rodi_paper("human", "person", size=256, vgg_weights="vgg19.safetensors")


def rodi_deepfashion() -> Recipe:
    """RoDi, Table 2, DeepFashion: `recombine train rodi.deepfashion --data DEEPFASHION --set vgg_weights=FILE`.

    DEEPFASHION has a group `person`. Paper: mAP 52.9 %, adversarial 37.4 %. Differs from the paper's code: the
    appearance encoder is trained, as its text says; the released configuration loads a frozen network that recognises
    persons.
    """
    return rodi_market()


def rodi_paper(preset: str, group: str, mirror: bool = True, size: int = 64, **variant: Any) -> Recipe:
    """RoDi's published training: 100,000 steps."""
    train = TrainConfig(images=1_600_000, batch_size=16, mirror=mirror, decay=1.0)
    return of("rodi", preset, train, {"pair_by": (group,), **variant}, size=size, attributes=(group,))


def matdr_avatars() -> Recipe:
    """MATDR on avatars, 64 px: `recombine train matdr.avatars`. 8 min on two cores.

    Ours, after 12,000 pairs: 38.6 % of swaps succeed (37.0-40.3, n = 3,168), others preserved 96.4 %, reconstruction
    26.3 dB (results/five-on-avatars.json). Without the key idea, `--set ver_weight=0`: 40.9 %.
    """
    train = on_synthetic(15_000, batch_size=4, ema_images=1_000, log_every=1_000, evaluate_every=5_000)
    return of("matdr", "small", train, data=Synthetic(), attributes=FOUR)


def matdr_lfw(ver_weight: float = 0.1) -> Recipe:
    """MATDR on photographs, 32 px: `recombine train matdr.lfw --data LFW40`. 6 min on two cores.

    Ours, after 6,000 pairs: 32.1 % of swaps succeed (30.5-33.8, n = 3,111), others preserved 96.9 %, Frechet distance
    .177 (.154-.199, n = 1,037; results/matdr-lfw40.json).
    """
    train = TrainConfig(images=15_000, batch_size=4, mirror=True, ema_images=2_000, decay=0.4, evaluate_every=5_000)
    attributes = ("Smiling", "Eyeglasses", "Gray_Hair")
    return of("matdr", "photos", train, {"ver_weight": ver_weight}, size=32, attributes=attributes)


def matdr_celeba() -> Recipe:
    """MATDR, Tables 1 and 2, 128 px, 200,000 steps of 16 pairs: `recombine train matdr.celeba --data CELEBA`.

    Paper: FID 45.23 (n = 2000); 36 h on a P100.
    """
    train, attributes = TrainConfig(images=3_200_000, batch_size=16, mirror=True), ("Bangs", "Smiling", "Eyeglasses")
    return of("matdr", "paper", train, {"ver_weight": 0.1}, size=128, attributes=attributes)


def splice_lfw(minutes: float = 45.0) -> Recipe:
    """Photographs, 64 px, as long as is said: `recombine train splice.lfw --data LFW40`. 45 min on two cores."""
    train = TrainConfig(minutes=minutes, evaluations=10, batch_size=16, mirror=True, ema_images=5_000, decay=0.3)
    return of("splice", "photos", train, attributes=("Smiling", "Eyeglasses", "Gray_Hair", "Mouth_Slightly_Open"))


def splice_avatars() -> Recipe:
    """Avatars, 64 px: `recombine train splice.avatars`. 10 min on two cores.

    Ours: 96.1 % of swaps succeed (95.3-96.7, n = 3,168), others preserved 96.4 %, 24.5 dB against the true image
    (results/splice-avatars.json).
    """
    train = on_synthetic(61_000, batch_size=8, ema_images=3_000, evaluate_every=12_200)
    return of("splice", "drawn", train, data=Synthetic(8_000), attributes=FOUR)


def splice_letters() -> Recipe:
    """Drawn letters, 64 px: `recombine train splice.letters`. 5 min on two cores.

    Ours, on combinations of values that it has not seen: 98.8 % of swaps succeed (98.3-99.1, n = 3,080), others
    preserved 98.5 %, reconstruction 19.8 dB (results/splice-letters.json).
    """
    train = on_synthetic(34_000, batch_size=8, ema_images=2_000, evaluate_every=6_800)
    return of("splice", "shapes", train, data=Synthetic(name="letters"), attributes=tuple(letters.FACTORS))


def of(method: str, preset: str, train: TrainConfig, variant: dict[str, Any] | None = None, **data: Any) -> Recipe:
    """A recipe of a method's preset, some of its fields changed; `data` are further fields of Recipe."""
    return Recipe(method, replace(presets(method)[preset], **(variant or {})), train, **data)


def on_synthetic(images: int, **course: Any) -> TrainConfig:
    """Training on generated images."""
    course = {"batch_size": 16, "mirror": False, "ema_images": 2_000, "decay": 0.4, **course}
    return TrainConfig(images=images, **course)


RECIPES = {
    recipe.__name__.replace("_", ".", 1): recipe
    for recipe in (
        avatars_demo, celeba_table1, celeba_table3, lfw_smiling,
        advattr_avatars, advattr_lfw, advattr_rafd, advattr_bu3dfe, advattr_multipie,
        mad_avatars, mad_lfw, mad_celeba, mad_vggface2,
        ifcvaegan_avatars, ifcvaegan_letters,
        rodi_avatars, rodi_sprites, rodi_fig7, rodi_market, rodi_deepfashion,
        matdr_avatars, matdr_lfw, matdr_celeba,
        splice_lfw, splice_avatars, splice_letters,
    )
}  # fmt: skip


def default_recipe(method: str = DEFAULT, drawn: str | None = None) -> tuple[Recipe, str]:
    """What is trained where no settings are named, and where they come from: the default of every command.

    `recombine train` with the default method goes on from there to settings that suit the data (`recombine.planning`).

    Args:
        method: Short name.
        drawn: Name of the drawn data set that it is trained on, such as avatars: then it is the method's recipe for it,
            or else for avatars, or its small preset with the training of `ifcvaegan.avatars`. Otherwise it is the
            settings found on photographs of 32 to 64 pixels, or the small preset.

    Raises:
        ValueError: There is no such method.
    """
    config_class(method)
    known = presets(method)
    for name in (f"{method}.{drawn}", f"{method}.avatars") if drawn else ():
        if name in RECIPES:
            return RECIPES[name](), f"recipe {name}"
    on_photos = TrainConfig(images=200_000, batch_size=32, ema_images=5_000, decay=0.3)
    train = ifcvaegan_avatars().train if drawn else on_photos
    if not drawn and "photos" in known:
        own = {"rounds": ()} if method == "mad" else {}     # whose rounds belong to the attributes of `mad.lfw`
        return Recipe(method, replace(known["photos"], **own), train), "settings found on photographs"
    if "small" in known:
        return Recipe(method, known["small"], train), "preset small"
    return Recipe(method, config_class(method)(), train), "defaults"
