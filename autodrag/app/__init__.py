"""The editor: an editing session (`session`), what it saves, and the page that shows it (`server`, `static/`)."""
