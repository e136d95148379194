"""What the program needs of the operating system: files, disk, memory, signals, devices, processes, errors."""
