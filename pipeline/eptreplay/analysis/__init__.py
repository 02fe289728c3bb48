"""Answers made from the interval statistics of a trace: working sets, dirty rates, migrations, miss ratios (docs/analysis.md)."""
