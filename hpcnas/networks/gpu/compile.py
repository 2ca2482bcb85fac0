"""Compiles a share of a plan's variants: `python -m hpcnas.networks.gpu.compile`, with the question as JSON on stdin."""

import json
import sys
from pathlib import Path

from hpcnas.networks.gpu.kernel_cache import mark
from hpcnas.networks.gpu.plans import PassPlan
from hpcnas.networks.gpu.variants import compile_variant, variants_of


def main() -> int:
    """Compile the variants with the given digests, and mark each as it is done."""
    question = json.load(sys.stdin)
    wanted = set(question["digests"])
    for variant in variants_of(PassPlan.from_json(question["plan"]).launches(), question["arch"]):
        if variant.digest in wanted:
            compile_variant(variant, question["arch"])
            # One by one: what is compiled counts, even if the process that waits for it is ended meanwhile.
            mark(Path(question["folder"]), variant, question["arch"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
