"""Training on tables that do not fit into memory: rows encoded into a file once, then LightGBM's bins alone.

`store` reads a source in batches, cleans them as training does, parts training from holdout rows by the same
rule, and keeps what is left as numbers on disk. `Bins` are these rows as LightGBM has them, a byte a value,
made once and read again by whoever cross-validates, tunes or fits. `train` makes a `FittedModel` of them;
`on_dask` grows the trees on the workers of a cluster.
"""

from millrace.large.rows import Stored, StoredRows, store
from millrace.large.training import Bins, Trained, train

__all__ = ["Bins", "Stored", "StoredRows", "Trained", "store", "train"]
