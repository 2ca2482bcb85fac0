"""The search to simulate, and the outcome of that."""

from dataclasses import dataclass, field

from hpcnas.config import SearchConfig
from hpcnas.representation.space import HIERARCHICAL, SearchSpace
from hpcnas.simulation.durations import Durations


@dataclass(frozen=True, slots=True)
class Scenario:
    """The search to simulate.

    Attributes:
        durations: seconds of one genotype, all repeats together.
        claim_s: what the head needs to answer one claim; it answers one after the other.
        arrival_s: the workers' jobs start evenly spread over so many seconds.
        start_s: from the start of a worker's job to its first claim.
        failure: the share of attempts that end with an error, somewhere on their way.
        preemption_s: mean time between two preemptions of one worker; 0 for none.
        restart_s: from a preemption to the worker's next start.
        is_breeding: False leaves genotypes out and follows the time alone.
    """

    durations: Durations
    space: SearchSpace = HIERARCHICAL
    search: SearchConfig = field(default_factory=SearchConfig)
    workers: int = 200
    repeats: int = 4
    claim_s: float = 0.001
    arrival_s: float = 0.0
    start_s: float = 30.0
    failure: float = 0.0
    preemption_s: float = 0.0
    restart_s: float = 120.0
    is_breeding: bool = True


@dataclass(slots=True)
class SimulationResult:
    """The outcome; seconds are summed over workers, except wall_s and head_s.

    Attributes:
        busy_s: training that became fitness. lost_s: training that was thrown away.
        starting_s: start-up of workers. idle_s: waiting for a genotype while some were still to be bred.
        tail_s: waiting in reserve at the end, when the last genotypes are with other workers; the rest has left.
        head_s: the head answering claims.
        best: fitness of the fittest genotype; synthetic.
        reused: very same genotypes that took a fitness over. saved_s: what their trainings would have taken.
    """

    evaluated: int = 0
    failed: int = 0
    attempts: int = 0
    preemptions: int = 0
    wall_s: float = 0.0
    busy_s: float = 0.0
    lost_s: float = 0.0
    starting_s: float = 0.0
    idle_s: float = 0.0
    tail_s: float = 0.0
    head_s: float = 0.0
    best: float | None = None
    reused: int = 0
    saved_s: float = 0.0

    @property
    def held_s(self) -> float:
        """Worker time in all, the tail included."""
        return self.busy_s + self.lost_s + self.starting_s + self.idle_s + self.tail_s
