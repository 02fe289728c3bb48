"""Physical pages and their queues (vm_page.c)."""
