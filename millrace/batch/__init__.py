"""Batch inference: a table of any length in, the same rows with predictions out, whole or not at all.

`run_job` reads the input in batches (`millrace.sources.streams`), scores them in threads (`rows`), and
keeps what is finished in an `Output` (`output`), which another run of the same job goes on from.
"""

from millrace.batch.job import Job, run_job
from millrace.batch.output import Output
from millrace.batch.records import Manifest
from millrace.batch.settings import BatchSettings

__all__ = ["BatchSettings", "Job", "Manifest", "Output", "run_job"]
