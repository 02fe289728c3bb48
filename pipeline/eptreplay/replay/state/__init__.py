"""What a replay is given of a host: the memory of guests and host, the pmaps of profiles, the shapes of TLBs."""
