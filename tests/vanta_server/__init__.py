"""The server: real clients over loopback, on scripted and faulty tracks."""
