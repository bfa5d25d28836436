"""What this host has and can enforce, found out by looking and by trying; whose programs and users there are."""
