"""Small training runs made to show a trouble, or made not to: what the coded checks are tried on."""
