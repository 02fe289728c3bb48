"""Guest memory and the memory of the host: vm_fault, vm_map, vm_wire, vm_object, vm_pageout; and what the hypervisor does to it."""
