"""Guest memory and the memory of the host: vm_fault, vm_map, vm_object, vm_reserv, vm_pageout; and what the hypervisor does to it."""
