"""Parquet as bytes: footers, pages and statistics, none of them trusted."""
