"""A made-up guest to begin with: what `eptreplay synth --print-example` prints."""

EXAMPLE = """\
# A made-up guest. Sizes: bytes, or as in "64MiB"; times as in "10ns", "5ms". Whatever is left out has the value in brackets.

seed = 1            # the same file makes the same rows on every machine [1]
rows = 4_000_000    # accesses; rows that say that a vCPU runs or stops come on top
memory = "512MiB"   # of the guest; beyond 3 GiB it goes on at 4 GiB
vcpus = 4           # [1]
access_bytes = 8    # addresses are multiples of it [8]
burst = 64          # accesses of one vCPU in a row [64]
gap = "10ns"        # mean time between two accesses [10ns]
repeat = 3          # how often the phases follow each other [1]

# vCPUs take turns on host CPUs, and the trace says when. Without this table all run all the time, and nothing is said of it.
[turns]
host_cpus = 2
slice = "1ms"       # [1ms]

# A start: memory is filled from its beginning to its end.
[[phase]]
weight = 1          # of this phase, in proportion to the others [1]
vcpus = [0]         # those that work in it [all]

[[phase.access]]
pattern = "sequential"  # a cache line after the other, round and round
write_share = 0.9       # [0.3]

# The work: a hot set that moves, code, a table that is walked by columns, and what the host does meanwhile.
[[phase]]
weight = 4
gap = "15ns"        # [that of the guest]
idle = "20ms"       # without an access after it [0ns]

[[phase.access]]
pattern = "zipf"    # the page of rank r in proportion to 1 / r ** skew; ranks are scattered
weight = 6          # of these accesses, in proportion to the others of the phase [1]
skew = 1.1          # [1]
begin = "64MiB"     # where the memory begins that they go to [0]
bytes = "256MiB"    # and how much it is [the rest of memory]
drift = "8MiB"      # it moves up by so much in a million accesses [0]
write_share = 0.25

[[phase.access]]
pattern = "zipf"
weight = 2
skew = 1.5
bytes = "16MiB"
write_share = 0
fetch_share = 1     # [0]

[[phase.access]]
pattern = "strided"
stride = 8192       # bytes from one access to the next; the next round begins access_bytes further
begin = "320MiB"
bytes = "128MiB"

[[phase.access]]
pattern = "uniform"
by = "host"         # the hypervisor's process, through its own mapping; vcpu, host or dma [vcpu]
weight = 0.01
begin = "480MiB"
bytes = "1MiB"
"""
