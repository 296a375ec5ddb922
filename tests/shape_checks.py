"""What checks shapes and types of annotated functions while tests run; an int serves as a float, NumPy's numbers as Python's."""

import numpy as np
from beartype import BeartypeConf, FrozenDict, beartype

NUMBERS = FrozenDict({
    float: float | int | np.floating | np.integer,
    int: int | np.integer,
    bool: bool | np.bool_,
})
check = beartype(conf=BeartypeConf(hint_overrides=NUMBERS))
