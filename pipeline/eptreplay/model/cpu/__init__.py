"""The processor: the page walk, TLBs, translations, and when vCPUs are in the guest."""
