"""The driver whose walls a container engine raises: podman or docker, told by its command line."""
