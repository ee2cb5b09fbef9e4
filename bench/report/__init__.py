"""`bench report`: what a run came to, as one self-contained page, a Markdown summary and figures."""
