"""What a script can call: toolsets in a folder of its own, scripted tools, pages, and answers."""
