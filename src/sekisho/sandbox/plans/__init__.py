"""What a plugin needs, and the exact walls drawn from it: values in, values out, printable before anything runs."""
