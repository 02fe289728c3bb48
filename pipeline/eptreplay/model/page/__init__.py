"""Physical pages, their queues, and the count of free frames (vm_page.c, vm_phys.c)."""
