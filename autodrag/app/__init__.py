"""The editor in a browser: the server and the page (`static/`) of editing sessions."""
