"""A population as dictionaries, by the words of the lease table of docs/reliability.md: what a store is compared with."""


class Model:
    """One individual, as the lease table of docs/reliability.md says it in words."""

    def __init__(self, kind: int, twin: int | None = None) -> None:
        """Of the genotype `kind`; takes the fitness of `twin` over."""
        self.kind, self.twin = kind, twin
        self.state, self.token, self.lapsed, self.reason = "queued", 0, False, ""
        self.errors = self.losses = self.preemptions = self.beats = 0
        self.front, self.avoid = False, ""
        self.rows: dict[int, float] = {}
        self.claims: dict[str, int] = {}

    def give_back(self, host: str = "") -> None:
        self.state, self.front, self.lapsed = "queued", True, False
        self.avoid = host or self.avoid

    def close(self, reason: str) -> None:
        self.state, self.reason, self.lapsed, self.front = "failed", reason, False, False

    def accepts(self, token: int) -> bool:
        return token == self.token and (self.state == "leased" or (self.state == "queued" and self.lapsed))

    def take_up(self) -> None:
        if self.state == "queued":
            self.state, self.lapsed, self.front = "leased", False, False


class Models(dict[int, Model]):
    """All individuals by their id.

    Attributes:
        order: ids in the order of becoming evaluated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.order: list[int] = []

    def pick(self, which: int, back: int) -> tuple[int, Model, int]:
        """Id and model of one of them, and its token `back` grants ago."""
        number = sorted(self)[which % len(self)]
        return number, self[number], max(0, self[number].token - back)

    def next(self, host: str) -> int | None:
        """The one that a claim from the host is granted."""
        # Both hosts have a live worker, so what failed on one waits for the other.
        queued = [n for n, model in self.items() if model.state == "queued" and model.twin is None and model.avoid != host]
        return min(queued, key=lambda n: (not self[n].front, n), default=None)

    def twin(self, kind: int) -> int | None:
        """Whose fitness one more of the genotype `kind` takes over."""
        alike = [number for number, model in self.items() if model.kind == kind]
        done = [number for number in alike if self[number].state == "evaluated"]
        under_way = [n for n in alike if self[n].state in ("queued", "leased") and self[n].twin is None]
        return min(done or under_way, default=None)

    def add(self, number: int, kind: int, twin: int | None = None) -> None:
        """A new one; evaluated at once if its twin is."""
        self[number] = Model(kind, twin)
        if twin is not None and self[twin].state == "evaluated":
            self._take_over(number)

    def evaluate(self, number: int) -> None:
        """All its repeats are there: those that wait for it take them over."""
        model = self[number]
        model.state, model.lapsed, model.front, model.avoid = "evaluated", False, False, ""
        self.order.append(number)
        for other in self._waiting(number):
            self._take_over(other)

    def close(self, number: int, reason: str) -> None:
        """It failed for good: the first that waited is trained for the others."""
        self[number].close(reason)
        heir, *others = self._waiting(number) or [None]
        if heir is not None:
            self[heir].twin = None
        for other in others:
            assert other is not None
            self[other].twin = heir

    def _waiting(self, twin: int) -> list[int]:
        return [number for number, model in sorted(self.items()) if model.state == "queued" and model.twin == twin]

    def _take_over(self, number: int) -> None:
        model = self[number]
        assert model.twin is not None
        model.state, model.rows = "evaluated", dict(self[model.twin].rows)
        self.order.append(number)
