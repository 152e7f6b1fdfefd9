"""One row at a time through LightGBM, by the calls of its C API that are made for it.

LightGBM's Python class takes more time to hand a row over than the trees take. Here the row, the answer
and the parsed parameters stay in place from one call to the next.
"""

import ctypes
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.transforms import Matrix

if TYPE_CHECKING:
    import lightgbm


class SingleRow:
    """A booster's answers to single rows; of each thread one of its own."""

    def __init__(self, booster: "lightgbm.Booster") -> None:
        """Prepare the calls.

        Raises:
            lightgbm.basic.LightGBMError: with what LightGBM says, if it cannot.
        """
        from lightgbm import basic

        library, self._check = basic._LIB, basic._safe_call
        self._row = np.empty((1, booster.num_feature()))
        self._answer = np.empty((1, booster.num_model_per_iteration()))
        handle, self._written = ctypes.c_void_p(), ctypes.c_int64()
        self._check(
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                booster._handle,
                ctypes.c_int(basic._C_API_PREDICT_NORMAL),
                ctypes.c_int(0),  # from the first tree
                ctypes.c_int(-1),  # to the last
                ctypes.c_int(basic._C_API_DTYPE_FLOAT64),
                ctypes.c_int32(self._row.shape[1]),
                b"num_threads=1",
                ctypes.byref(handle),
            )
        )
        # The booster is kept until nothing points into it.
        weakref.finalize(self, _free, library, handle, booster)
        # Python's interpreter lock is kept: to get it back from a thread that writes a log, for example,
        # takes up to five milliseconds, and the trees take some of a thousandth of that.
        self._predict = ctypes.PyDLL(library._name).LGBM_BoosterPredictForMatSingleRowFast
        self._arguments: tuple[Any, ...] = (
            handle,
            ctypes.c_void_p(self._row.ctypes.data),
            ctypes.byref(self._written),
            ctypes.c_void_p(self._answer.ctypes.data),
        )

    def __call__(self, row: Matrix) -> Matrix:
        """What the booster's `predict` says of a row [1, features]: [1, outputs].

        Raises:
            lightgbm.basic.LightGBMError: with what LightGBM says, if it cannot.
            ValueError: the row has more or fewer features.
        """
        self._row[:] = row
        self._check(self._predict(*self._arguments))
        return self._answer.copy()


def _free(library: Any, handle: ctypes.c_void_p, _: "lightgbm.Booster") -> None:
    library.LGBM_FastConfigFree(handle)
