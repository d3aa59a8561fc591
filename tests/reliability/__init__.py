"""What the project promises about faults, counted; `make reliability` writes it down."""
