"""Access to the operating system and the hardware: files, disk, memory, signals, devices, processes, errors."""
