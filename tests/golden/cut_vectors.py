"""Stop the vectors of this folder from a full set: `python tests/golden/cut_vectors.py VECTORS`.

Whole sequences are kept, one row group a sequence, chosen so that every operation, every combination of flags,
both entry formats, two pmaps at once and device memory occur.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SEQUENCES = (0, 1, 2, 3, 4, 8, 18, 20, 25, 27, 28, 29)
TABLES = ("sequences", "ops", "dump", "pages")


def cut(source: Path, target: Path) -> None:
    """Write the chosen sequences of every table of `source` to `target`, in order of their numbers."""
    target.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        table = pq.read_table(source / f"{name}.parquet")
        with pq.ParquetWriter(target / f"{name}.parquet", table.schema, compression="zstd") as writer:
            if name == "sequences":
                chosen = table.filter(pc.is_in(table["seq"], pa.array(SEQUENCES, table["seq"].type)))
                writer.write_table(chosen.sort_by("seq"))
                continue
            for sequence in SEQUENCES:
                writer.write_table(table.filter(pc.equal(table["seq"], sequence)))


if __name__ == "__main__":
    cut(Path(sys.argv[1]), Path(__file__).parent / "vectors")
