"""Training on tables that do not fit into memory: rows encoded into a file once, then LightGBM's bins alone.

`store` reads a source in batches, cleans them as training does, parts training from holdout rows by the same
rule, keeps what is left as numbers on disk, and draws rows for whoever wants to look at some. `Bins` are
these rows as LightGBM has them, a byte a value, made once and read again by whoever cross-validates, tunes or
fits. `engines` says who grows the trees, this process or the workers of a cluster; `train` does all of it.
"""

from millrace.large.rows import Account, Stored, StoredRows, store
from millrace.large.training import Bins, Trained, cross_validate, train

__all__ = ["Account", "Bins", "Stored", "StoredRows", "Trained", "cross_validate", "store", "train"]
