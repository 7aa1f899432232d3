"""Published for plug-in authors: one contract per port, and fakes that can fail a ranking test."""
