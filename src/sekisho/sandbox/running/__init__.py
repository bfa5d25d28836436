"""What holds while a plugin runs, whoever raised its walls: pipes, limits, private folders, what was refused, the end."""
