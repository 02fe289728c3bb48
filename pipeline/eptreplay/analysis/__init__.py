"""Answers made from the books of a trace: working sets, dirty rates, migrations, miss ratios (docs/analysis.md)."""
