"""Small trainings on the built-in avatars: minutes on two cores."""

from dataclasses import replace

from recombine.data.synthetic.avatars import FACTORS, NUMBERS
from recombine.methods.ifcvaegan import Config
from recombine.training.engine import TrainConfig
from recombine.training.recipe import Drawn, Recipe

# Differs from the paper: every drawn factor is an attribute, so little is left for the rest to tell; images are rebuilt
# from the true labels, drawings without noise need no critic, and Adam takes larger steps than RMSprop.
FAST = Config(
    width=24,
    decoder_width=48,
    num_latents=16,
    aux_width=128,
    scaling="means",
    kl_weight=1e-5,
    class_weight=0.2,
    number_weight=3.0,
    gan_weight=0.0,
    aux_weight=0.001,
    rec_labels="true_to_guessed",
    detach_label_head=False,
    optimizer="adam",
    learning_rate=3e-3,
)


LABELS = ("expression", "lighting", "glasses", "hair_color")  # what the methods are compared on; all else is the rest's
COURSE = TrainConfig(images=24_000, batch_size=16, mirror=False, ema_images=2_000, decay=0.4, log_every=1_600, evaluate_every=12_000)

# Differs from the paper: as FAST; and since the rest is large here, the auxiliary network is wide and is asked for a uniform guess,
# without which labels were still ignored after 24,000 images. At FAST's rate the encoder died in the run without that network.
COMPARED = replace(FAST, learning_rate=1e-3, num_latents=32, aux_width=500, aux_weight=0.3, aux_form="uniform", kl_weight=5e-5)


def ifcvaegan_avatars(aux_weight: float = COMPARED.aux_weight) -> Recipe:
    """IFcVAE-GAN on four attributes of the avatars: `recombine train ifcvaegan.avatars`. 2 min on two cores; LOG.md has the numbers."""
    return Recipe("ifcvaegan", replace(COMPARED, aux_weight=aux_weight), COURSE, data=Drawn(8_000), attributes=LABELS)


def avatars_demo() -> Recipe:
    """IFcVAE-GAN on avatars with every drawn factor as an attribute: `recombine demo`. 5 min on two cores; LOG.md has the numbers."""
    train = TrainConfig(images=60_000, batch_size=16, mirror=False, ema_images=2_000, decay=0.4, log_every=1_600, evaluate_every=30_000)
    return Recipe("ifcvaegan", FAST, train, data=Drawn(), attributes=(*FACTORS, *NUMBERS))
