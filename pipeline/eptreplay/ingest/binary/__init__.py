"""What importers of binary formats share: blocks of records, vCPUs of threads, page maps that come along."""
