"""The pmap (pmap.c): page tables, promotion, A/D emulation, invalidation."""
