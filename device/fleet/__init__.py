"""Many simulated devices with real connections: for measuring a broker and those who receive. `leukoscope fleet-sim`."""
