"""The processor: the walk, TLBs, translations, entries to the guest."""
