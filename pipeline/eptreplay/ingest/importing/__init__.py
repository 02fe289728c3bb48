"""What every importer shares: records as they pass, what is dropped, how a format is described."""
