"""Independent implementations of published formats that autodrag builds on."""
