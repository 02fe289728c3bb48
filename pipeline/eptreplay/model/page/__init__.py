"""Physical pages, their queues, and the frames that they get (vm_page.c, vm_phys.c, vm_reserv.c)."""
