"""Everything hpcnas raises for a person to read: one sentence, one exit code each.

The message of every error names the bad value, what is allowed and what to do.
The command line prints it as one line and leaves with `exit_code`; a traceback
appears only with `--debug`.
"""


class HpcnasError(Exception):
    """The work could not be done (exit code 1)."""

    exit_code = 1


class UsageError(HpcnasError):
    """A wrong option, configuration, genotype or data set (exit code 2)."""

    exit_code = 2


class GenotypeError(UsageError):
    """A genotype that cannot be read, is malformed or has an unreachable sink."""


class DataError(UsageError):
    """A data set that is missing, damaged or laid out differently."""


class RunHeldError(HpcnasError):
    """Another head holds the run (exit code 3)."""

    exit_code = 3


class ClusterError(HpcnasError):
    """The cluster refused, or is not there (exit code 4)."""

    exit_code = 4


class DamagedRunError(HpcnasError):
    """The run folder is damaged, or belongs to a newer hpcnas (exit code 5)."""

    exit_code = 5


class LeaseLost(HpcnasError):
    """A write came under an older token: another worker owns the genotype now."""


class StoreUnavailable(HpcnasError):
    """Neither the head nor the database can be reached at the moment; try again later."""
