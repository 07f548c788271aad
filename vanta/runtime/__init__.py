"""The runtime: what is open in a process, its sessions and turns."""
