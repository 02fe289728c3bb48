"""Stop the vectors of this folder from a full set: `python tests/golden/cut_vectors.py VECTORS`, which has the name of one here.

Whole sequences are kept, one row group a sequence, chosen so that every operation, every combination of flags,
all entry formats, two pmaps at once and device memory occur.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SEQUENCES = {
    "vectors": (0, 1, 2, 3, 4, 8, 18, 20, 25, 27, 28, 29),
    "vectors14": (0, 1, 2, 3, 8, 18, 22, 24, 26),
    "vectors14late": (0, 1, 2, 3, 8, 13, 26),
}
"""By the name of the set: those of 10.0, of 14.0, and of what came after it."""
TABLES = ("sequences", "ops", "dump", "pages")


def cut(source: Path, target: Path) -> None:
    """Write the chosen sequences of every table of `source` to `target`, in order of their numbers."""
    target.mkdir(parents=True, exist_ok=True)
    sequences = SEQUENCES[source.name]
    for name in TABLES:
        table = pq.read_table(source / f"{name}.parquet")
        with pq.ParquetWriter(target / f"{name}.parquet", table.schema, compression="zstd") as writer:
            if name == "sequences":
                chosen = table.filter(pc.is_in(table["seq"], pa.array(sequences, table["seq"].type)))
                writer.write_table(chosen.sort_by("seq"))
                continue
            for sequence in sequences:
                writer.write_table(table.filter(pc.equal(table["seq"], sequence)))


if __name__ == "__main__":
    cut(Path(sys.argv[1]), Path(__file__).parent / Path(sys.argv[1]).name)
