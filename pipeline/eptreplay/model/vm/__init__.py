"""What lies around the pmap: faults, maps, objects, reservations, the page daemon, the hypervisor."""
