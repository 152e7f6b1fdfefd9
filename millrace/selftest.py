"""Whether a loaded bundle still answers as it did when it was sealed."""

import numpy as np

from millrace.bundle import SELFTEST, Bundle
from millrace.errors import UserError

# Sums in another order, on another processor, differ in the last digits.
TOLERANCE = 1e-9


def check_selftest(bundle: Bundle) -> None:
    """Predict the bundle's recorded rows again.

    Raises:
        UserError: a prediction is not the recorded one.
    """
    recorded = bundle.read(SELFTEST)
    columns = {name: [row[name] for row in recorded["rows"]] for name in bundle.problem.inputs}
    expected = np.array(recorded["predictions"])
    found = bundle.fitted.predict(columns)
    off = ~np.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE).reshape(len(expected), -1).all(axis=1)
    if off.any():
        row = int(off.argmax())
        raise UserError(
            f"{bundle.folder}: predicts {np.round(found[row], 6).tolist()} for self-test row {row}, where "
            f"{np.round(expected[row], 6).tolist()} was recorded; this machine's libraries are others than "
            "those in its provenance.json."
        )
