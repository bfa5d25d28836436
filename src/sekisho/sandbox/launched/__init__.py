"""The drivers whose walls our own launcher raises: bubblewrap, native, Landlock, and none."""
