"""What do clouds look like from outside? Pure shapes of their templates, requests and answers; nothing here opens a socket."""
