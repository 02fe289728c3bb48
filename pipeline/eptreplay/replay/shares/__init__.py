"""One large guest on several threads: each replays a share of the guest's memory."""
