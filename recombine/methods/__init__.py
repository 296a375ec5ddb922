"""Every method by its short name."""

import sys
from collections.abc import Mapping
from typing import Any

from recombine.methods import (
    advattr,
    betavae,
    cvaegan,
    cyclegan,
    cyclevae,
    dipvae,
    dnagan,
    drnet,
    fader,
    icgan,
    ifcvaegan,
    mad,
    matdr,
    pix2pix,
    rodi,
    splice,
    stargan,
    twostep,
)

METHODS = {
    "splice": (splice.Splice, splice.Config),
    "advattr": (advattr.AdvAttr, advattr.Config),
    "mad": (mad.MAD, mad.Config),
    "ifcvaegan": (ifcvaegan.IFcVAEGAN, ifcvaegan.Config),
    "rodi": (rodi.RoDi, rodi.Config),
    "matdr": (matdr.MATDR, matdr.Config),
    "stargan": (stargan.StarGAN, stargan.Config),
    "cyclegan": (cyclegan.CycleGAN, cyclegan.Config),
    "pix2pix": (pix2pix.Pix2Pix, pix2pix.Config),
    "dnagan": (dnagan.DNAGAN, dnagan.Config),
    "betavae": (betavae.BetaVAE, betavae.Config),
    "dipvae": (dipvae.DIPVAE, dipvae.Config),
    "fader": (fader.Fader, fader.Config),
    "icgan": (icgan.IcGAN, icgan.Config),
    "twostep": (twostep.TwoStep, twostep.Config),
    "cvaegan": (cvaegan.CVAEGAN, cvaegan.Config),
    "cyclevae": (cyclevae.CycleVAE, cyclevae.Config),
    "drnet": (drnet.DrNet, drnet.Config),
}


def presets(name: str) -> Mapping[str, Any]:
    """The named settings that a method's file brings."""
    return getattr(sys.modules[METHODS[name][0].__module__], "PRESETS", {})
