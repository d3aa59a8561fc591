"""How a training run gets onto machines."""
