"""Scripts that people run: what this program costs above the engine and libraries it stands on."""
